// attention_dq: gradient of causal self-attention with respect to the queries.
//   delta[t] = dout[t] · out[t],  p[t, j] = exp(scale q[t] · k[j] - lse[t]) where visible, else 0,
//   ds[t, j] = p[t, j] (keep[t, j] dout[t] · v[j] - delta[t]),  dq[t] = scale Σ_j ds[t, j] k[j]
// Mapping, visibility and order of summation as in attention_forward, in blocks of K keys.
// Reads qkv, out, dout, bounds (if flags & 17), state (if DROPOUT), scores (if SAVED), lse.
// Writes delta = (second half of stats) and the queries' third of dqkv: += if ADD, else =.
const LANES: u32 = 8u;
const HS4: u32 = 8u; // vec4s of a head
const R: u32 = 2u; // queries a lane
const K: u32 = 4u; // keys a block: 2 or 4
const LOADS: u32 = (K * HS4 + LANES - 1u) / LANES; // loads of a block of keys
const DROPOUT: u32 = 0u;
const SAVED: u32 = 0u; // the forward kept the scores
const ADD: u32 = 0u;

struct Params {
  B: u32,
  T: u32,
  NH: u32,
  band: u32,
  flags: u32, // 1: lengths, 16: segments
  site: u32,
  rate: f32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
// Binding 1: qkv (B, T, 3, NH, HS).
@group(0) @binding(2) var<storage, read> out: array<vec4f>; // (B, T, NH, HS)
@group(0) @binding(3) var<storage, read> dout: array<vec4f>; // (B, T, NH, HS)
@group(0) @binding(4) var<storage, read> bounds: array<u32>; // (B) or (2, B, T)
@group(0) @binding(5) var<storage, read> state: array<u32>; // seed_lo, seed_hi, step, micro
@group(0) @binding(6) var<storage, read> scores: array<vec4f>; // (B, NH, T, T4)
@group(0) @binding(7) var<storage, read_write> stats: array<f32>; // (2, B, NH, T): lse, delta
@group(0) @binding(8) var<storage, read_write> dqkv: array<vec4f>; // (B, T, 3, NH, HS)

// @include "attention_qkv.wgsl"
// @include "attention_bounds.wgsl"
// @include "philox.wgsl"
// @include "attention_dropout.wgsl"

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let T = params.T;
  let C4 = params.NH * HS4;
  let T4 = (T + 3u) / 4u;
  let tiles = (T + LANES * R - 1u) / (LANES * R);
  let g = wg.y * nw.x + wg.x;
  let bh = g / tiles;
  if (bh >= params.B * params.NH) { return; }
  let b = bh / params.NH;
  let i = g % tiles;
  let tile = select(i / 2u, tiles - 1u - i / 2u, (i & 1u) == 1u);
  let length = row_length(b);
  let first = tile * LANES * R;
  let lane = lid.x;
  // Seek to q[b, 0, h, 0]; a key is NH heads further, a value another NH.
  let base = b * T * 3u * C4 + (bh % params.NH) * HS4;

  var q: array<vec4f, R * HS4>;
  var dy: array<vec4f, R * HS4>; // dout
  var dq: array<vec4f, R * HS4>;
  var lse: array<f32, R>;
  var delta: array<f32, R>;
  var low: array<u32, R>; // first visible key
  var span: array<u32, R>; // number of visible keys
  // @unroll
  for (var r = 0u; r < R; r++) {
    let t = first + r * LANES + lane;
    let row = min(t, T - 1u);
    let at = (b * T + row) * C4 + (bh % params.NH) * HS4; // seek to out[b, t, h, :]
    var x = vec4f(0);
    // @unroll
    for (var d = 0u; d < HS4; d++) {
      if (SAVED == 0u) { q[r * HS4 + d] = qkv4(base + row * 3u * C4 + d) * params.scale; }
      dy[r * HS4 + d] = dout[at + d];
      x = fma(dy[r * HS4 + d], out[at + d], x);
    }
    lse[r] = stats[bh * T + row];
    delta[r] = (x.x + x.y) + (x.z + x.w);
    low[r] = first_key(b, t);
    span[r] = select(0u, t + 1u - low[r], t < length);
  }
  let end = min(first + LANES * R, length); // one past the last visible key of the tile
  let last = max(end, 1u) - 1u;
  var j = first_key(b, first) / K * K;
  loop {
    var keys: array<vec4f, LOADS>;
    var values: array<vec4f, LOADS>;
    var saved: array<vec4f, R>;
    var keep: array<vec4f, R>;
    // @unroll
    for (var l = 0u; l < LOADS; l++) {
      let e = l * LANES + lane;
      let at = base + C4 + min(j + e / HS4, last) * 3u * C4 + e % HS4;
      keys[l] = qkv4(at);
      values[l] = qkv4(at + C4);
    }
    // @unroll
    for (var r = 0u; r < R; r++) {
      let at = (bh * T + first + r * LANES + lane) * T4 + j / 4u;
      let second = K == 2u && j % 4u == 2u; // half of the four
      if (SAVED == 1u) {
        saved[r] = scores[at];
        saved[r] = select(saved[r], saved[r].zwxy, second);
      }
      if (DROPOUT == 1u) {
        keep[r] = keep4(at);
        keep[r] = select(keep[r], keep[r].zwxy, second);
      }
    }
    // @unroll
    for (var k = 0u; k < K; k++) {
      var x = array<vec4f, R>();
      var y = array<vec4f, R>();
      // @unroll
      for (var d = 0u; d < HS4; d++) {
        if (SAVED == 0u) {
          let key = subgroupShuffle(keys[(k * HS4 + d) / LANES], (k * HS4 + d) % LANES);
          // @unroll
          for (var r = 0u; r < R; r++) { x[r] = fma(q[r * HS4 + d], key, x[r]); }
        }
        let value = subgroupShuffle(values[(k * HS4 + d) / LANES], (k * HS4 + d) % LANES);
        // @unroll
        for (var r = 0u; r < R; r++) { y[r] = fma(dy[r * HS4 + d], value, y[r]); }
      }
      var ds: array<f32, R>;
      // @unroll
      for (var r = 0u; r < R; r++) {
        var score = (x[r].x + x[r].y) + (x[r].z + x[r].w);
        if (SAVED == 1u) { score = saved[r][k]; }
        var dp = (y[r].x + y[r].y) + (y[r].z + y[r].w);
        if (DROPOUT == 1u) { dp *= keep[r][k]; }
        ds[r] = select(0.0, exp(score - lse[r]) * (dp - delta[r]), j + k - low[r] < span[r]);
      }
      // @unroll
      for (var d = 0u; d < HS4; d++) {
        let key = subgroupShuffle(keys[(k * HS4 + d) / LANES], (k * HS4 + d) % LANES);
        // @unroll
        for (var r = 0u; r < R; r++) { dq[r * HS4 + d] = fma(vec4f(ds[r]), key, dq[r * HS4 + d]); }
      }
    }
    continuing {
      j += K;
      break if j >= end;
    }
  }
  // @unroll
  for (var r = 0u; r < R; r++) {
    let t = first + r * LANES + lane;
    if (t < T) {
      // @unroll
      for (var d = 0u; d < HS4; d++) {
        let at = base + t * 3u * C4 + d;
        let value = select(vec4f(0), dq[r * HS4 + d] * params.scale, span[r] > 0u);
        if (ADD == 1u) { dqkv[at] += value; } else { dqkv[at] = value; }
      }
      stats[(params.B * params.NH + bh) * T + t] = delta[r];
    }
  }
}

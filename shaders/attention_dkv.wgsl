// attention_dkv: gradients of causal self-attention with respect to keys and values.
//   p, ds and keep as in attention_dq,
//   dk[j] = scale Σ_t ds[t, j] q[t],  dv[j] = Σ_t p[t, j] keep[t, j] dout[t]
// One workgroup of LANES threads a tile of LANES * R keys of one head, a thread R keys; queries
// come in blocks of Q, loaded by all lanes and passed around by shuffles, and are summed in order.
// Dispatch grid(B * NH * ceil(T / (LANES * R))); tiles are taken from both ends of a head.
// Reads qkv, dout, bounds (if flags & 17), state (if DROPOUT), scores (if SAVED), stats.
// Writes the thirds of dqkv that belong to keys and values: += if ADD, else =.
const LANES: u32 = 8u;
const HS4: u32 = 8u; // vec4s of a head
const R: u32 = 2u; // keys a lane
const Q: u32 = 2u; // queries a block: 1, 2 or 4
const LOADS: u32 = (Q * HS4 + LANES - 1u) / LANES; // loads of a block of queries
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
// Bindings 1 and 2: qkv (B, T, 3, NH, HS), dout (B, T, NH, HS).
@group(0) @binding(3) var<storage, read> bounds: array<u32>; // (B) or (2, B, T)
@group(0) @binding(4) var<storage, read> state: array<u32>; // seed_lo, seed_hi, step, micro
@group(0) @binding(5) var<storage, read> scores: array<f32>; // (B, NH, T, 4 T4)
@group(0) @binding(6) var<storage, read> stats: array<f32>; // (2, B, NH, T): lse, delta
@group(0) @binding(7) var<storage, read_write> dqkv: array<vec4f>; // (B, T, 3, NH, HS)

// @include "attention_qkv.wgsl"
// @include "attention_dout.wgsl"
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
  let head = (bh % params.NH) * HS4;
  // Seek to q[b, 0, h, 0]; a key is NH heads further, a value another NH.
  let base = b * T * 3u * C4 + head;

  var key: array<vec4f, R * HS4>;
  var value: array<vec4f, R * HS4>;
  var dkey: array<vec4f, R * HS4>;
  var dvalue: array<vec4f, R * HS4>;
  var span: array<u32, R>; // number of queries that see the key: from the key's position on
  // @unroll
  for (var r = 0u; r < R; r++) {
    let j = first + r * LANES + lane;
    let at = base + C4 + min(j, T - 1u) * 3u * C4;
    // @unroll
    for (var d = 0u; d < HS4; d++) {
      key[r * HS4 + d] = qkv4(at + d);
      value[r * HS4 + d] = qkv4(at + C4 + d);
    }
    span[r] = select(0u, query_end(b, j) - j, j < length);
  }
  // One past the last query that sees a key of the tile.
  let end = query_end(b, first + LANES * R - 1u);
  let last = max(end, 1u) - 1u;
  var t = first;
  loop {
    var queries: array<vec4f, LOADS>;
    var douts: array<vec4f, LOADS>;
    var keep: array<vec4f, R>;
    // @unroll
    for (var l = 0u; l < LOADS; l++) {
      let e = l * LANES + lane;
      let row = min(t + e / HS4, last);
      queries[l] = qkv4(base + row * 3u * C4 + e % HS4) * params.scale;
      douts[l] = dout4((b * T + row) * C4 + head + e % HS4);
    }
    // Lane i holds the numbers of query t + i mod Q, and which of four keys that query keeps.
    let mine = min(t + lane % Q, last);
    let lses = stats[bh * T + mine];
    let deltas = stats[(params.B * params.NH + bh) * T + mine];
    if (DROPOUT == 1u) {
      // @unroll
      for (var r = 0u; r < R; r++) {
        keep[r] = keep4((bh * T + t + lane % Q) * T4 + (first + r * LANES + lane) / 4u);
      }
    }
    // @unroll
    for (var k = 0u; k < Q; k++) {
      let lse = subgroupShuffle(lses, k);
      let delta = subgroupShuffle(deltas, k);
      var x = array<vec4f, R>();
      var y = array<vec4f, R>();
      // @unroll
      for (var d = 0u; d < HS4; d++) {
        if (SAVED == 0u) {
          let query = subgroupShuffle(queries[(k * HS4 + d) / LANES], (k * HS4 + d) % LANES);
          // @unroll
          for (var r = 0u; r < R; r++) { x[r] = fma(query, key[r * HS4 + d], x[r]); }
        }
        let dy = subgroupShuffle(douts[(k * HS4 + d) / LANES], (k * HS4 + d) % LANES);
        // @unroll
        for (var r = 0u; r < R; r++) { y[r] = fma(dy, value[r * HS4 + d], y[r]); }
      }
      var p: array<f32, R>;
      var ds: array<f32, R>;
      // @unroll
      for (var r = 0u; r < R; r++) {
        let j = first + r * LANES + lane;
        var score = (x[r].x + x[r].y) + (x[r].z + x[r].w);
        if (SAVED == 1u) { score = scores[(bh * T + min(t + k, last)) * 4u * T4 + j]; }
        let dp = (y[r].x + y[r].y) + (y[r].z + y[r].w);
        let seen = t + k - j < span[r];
        p[r] = select(0.0, exp(score - lse), seen);
        if (DROPOUT == 1u) {
          let four = subgroupShuffle(keep[r], lane / 4u * 4u + k);
          let kept = select(
            select(four.x, four.y, lane % 4u == 1u),
            select(four.z, four.w, lane % 4u == 3u),
            lane % 4u >= 2u,
          );
          ds[r] = p[r] * (dp * kept - delta);
          p[r] *= kept;
        } else {
          ds[r] = p[r] * (dp - delta);
        }
      }
      // @unroll
      for (var d = 0u; d < HS4; d++) {
        let query = subgroupShuffle(queries[(k * HS4 + d) / LANES], (k * HS4 + d) % LANES);
        let dy = subgroupShuffle(douts[(k * HS4 + d) / LANES], (k * HS4 + d) % LANES);
        // @unroll
        for (var r = 0u; r < R; r++) {
          dkey[r * HS4 + d] = fma(vec4f(ds[r]), query, dkey[r * HS4 + d]);
          dvalue[r * HS4 + d] = fma(vec4f(p[r]), dy, dvalue[r * HS4 + d]);
        }
      }
    }
    continuing {
      t += Q;
      break if t >= end;
    }
  }
  // @unroll
  for (var r = 0u; r < R; r++) {
    let j = first + r * LANES + lane;
    if (j < T) {
      let live = span[r] > 0u;
      // @unroll
      for (var d = 0u; d < HS4; d++) {
        let at = base + C4 + j * 3u * C4 + d;
        let dk = select(vec4f(0), dkey[r * HS4 + d], live);
        let dv = select(vec4f(0), dvalue[r * HS4 + d], live);
        if (ADD == 1u) {
          dqkv[at] += dk;
          dqkv[at + C4] += dv;
        } else {
          dqkv[at] = dk;
          dqkv[at + C4] = dv;
        }
      }
    }
  }
}

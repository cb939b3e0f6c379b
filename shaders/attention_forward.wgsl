// attention_forward: causal self-attention over packed queries, keys and values, in one pass.
//   s[t, j] = scale q[t] · k[j],  p[t, :] = softmax of s[t, :] over the visible j,
//   out[t] = Σ_j p[t, j] keep[t, j] v[j],  lse[t] = log Σ_j exp s[t, j]
// Query t sees keys t - band < j <= t (band 0: 0 <= j <= t) of its segment, if t < length; else
// out = lse = 0. See attention_bounds.
// One workgroup of LANES threads a tile of LANES * R queries of one head, a thread R queries; keys
// and values come in blocks of four, loaded by all lanes and passed around by shuffles. Tiles of
// one head are taken from both ends, so that any contiguous share of workgroups is as much work.
// Keys are blocked by absolute position and summed in order: a row's bits do not depend on T, B or
// on the other rows (reduction "attention4").
// Dispatch grid(B * NH * ceil(T / (LANES * R))); the head size is 4 * HS4, LANES a multiple of 4.
// Reads qkv, bounds (if flags & 17), state (if DROPOUT). Writes out =, lse = (first half of stats),
// scores = (if SAVE; blocks without a visible key are left as they are).
const LANES: u32 = 8u;
const HS4: u32 = 8u; // vec4s of a head
const R: u32 = 4u; // queries a lane
const LOADS: u32 = (4u * HS4 + LANES - 1u) / LANES; // loads of a block of four keys
const DROPOUT: u32 = 0u;
const SAVE: u32 = 0u; // keep the scores for the backward

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
@group(0) @binding(2) var<storage, read> bounds: array<u32>; // (B) or (2, B, T)
@group(0) @binding(3) var<storage, read> state: array<u32>; // seed_lo, seed_hi, step, micro
@group(0) @binding(4) var<storage, read_write> out: array<vec4f>; // (B, T, NH, HS)
@group(0) @binding(5) var<storage, read_write> stats: array<f32>; // (2, B, NH, T): lse, delta
@group(0) @binding(6) var<storage, read_write> scores: array<vec4f>; // (B, NH, T, T4)

// @include "attention_qkv.wgsl"
// @include "attention_bounds.wgsl"
// @include "philox.wgsl"
// @include "attention_dropout.wgsl"

const LOWEST: f32 = -3.4028235e38;

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
  var o: array<vec4f, R * HS4>;
  var top: array<f32, R>; // largest score so far
  var sum: array<f32, R>; // of exp(score - top)
  var low: array<u32, R>; // first visible key
  var span: array<u32, R>; // number of visible keys
  // @unroll
  for (var r = 0u; r < R; r++) {
    let t = first + r * LANES + lane;
    // @unroll
    for (var d = 0u; d < HS4; d++) {
      q[r * HS4 + d] = qkv4(base + min(t, T - 1u) * 3u * C4 + d) * params.scale;
    }
    top[r] = LOWEST;
    low[r] = first_key(b, t);
    span[r] = select(0u, t + 1u - low[r], t < length);
  }
  let end = min(first + LANES * R, length); // one past the last visible key of the tile
  let last = max(end, 1u) - 1u;
  var j = first_key(b, first) / 4u * 4u;
  // The test comes after the body: a loop that ends at its head costs one body more on llvmpipe.
  loop {
    var s: array<f32, 4u * R>;
    var block: array<vec4f, LOADS>;
    // @unroll
    for (var l = 0u; l < LOADS; l++) {
      let e = l * LANES + lane;
      block[l] = qkv4(base + C4 + min(j + e / HS4, last) * 3u * C4 + e % HS4);
    }
    // @unroll
    for (var k = 0u; k < 4u; k++) {
      var x = array<vec4f, R>();
      // @unroll
      for (var d = 0u; d < HS4; d++) {
        let key = subgroupShuffle(block[(k * HS4 + d) / LANES], (k * HS4 + d) % LANES);
        // @unroll
        for (var r = 0u; r < R; r++) { x[r] = fma(q[r * HS4 + d], key, x[r]); }
      }
      // @unroll
      for (var r = 0u; r < R; r++) {
        let score = (x[r].x + x[r].y) + (x[r].z + x[r].w);
        s[k * R + r] = select(LOWEST, score, j + k - low[r] < span[r]);
      }
    }
    // @unroll
    for (var r = 0u; r < R; r++) {
      let t = first + r * LANES + lane;
      if (SAVE == 1u) {
        if (t < T) {
          scores[(bh * T + t) * T4 + j / 4u] = vec4f(s[r], s[R + r], s[2u * R + r], s[3u * R + r]);
        }
      }
      let before = top[r];
      let now = max(max(max(s[r], s[R + r]), max(s[2u * R + r], s[3u * R + r])), before);
      // Exactly 1 where nothing changed, whatever exp(0) is: rows that see nothing here stay as is.
      let rescale = select(exp(before - now), 1.0, before == now);
      var total = 0.0;
      // @unroll
      for (var k = 0u; k < 4u; k++) {
        s[k * R + r] = select(0.0, exp(s[k * R + r] - now), j + k - low[r] < span[r]);
        total += s[k * R + r];
      }
      top[r] = now;
      sum[r] = fma(sum[r], rescale, total);
      if (DROPOUT == 1u) {
        let keep = keep4((bh * T + t) * T4 + j / 4u);
        // @unroll
        for (var k = 0u; k < 4u; k++) { s[k * R + r] *= keep[k]; }
      }
      // @unroll
      for (var d = 0u; d < HS4; d++) { o[r * HS4 + d] *= rescale; }
    }
    // @unroll
    for (var l = 0u; l < LOADS; l++) {
      let e = l * LANES + lane;
      block[l] = qkv4(base + 2u * C4 + min(j + e / HS4, last) * 3u * C4 + e % HS4);
    }
    // @unroll
    for (var d = 0u; d < HS4; d++) {
      // @unroll
      for (var k = 0u; k < 4u; k++) {
        let value = subgroupShuffle(block[(k * HS4 + d) / LANES], (k * HS4 + d) % LANES);
        // @unroll
        for (var r = 0u; r < R; r++) {
          o[r * HS4 + d] = fma(vec4f(s[k * R + r]), value, o[r * HS4 + d]);
        }
      }
    }
    continuing {
      j += 4u;
      break if j >= end;
    }
  }
  // @unroll
  for (var r = 0u; r < R; r++) {
    let t = first + r * LANES + lane;
    if (t < T) {
      let at = (b * T + t) * C4 + (bh % params.NH) * HS4; // seek to out[b, t, h, :]
      let live = span[r] > 0u;
      // @unroll
      for (var d = 0u; d < HS4; d++) {
        out[at + d] = select(vec4f(0), o[r * HS4 + d] / sum[r], live);
      }
      stats[bh * T + t] = select(0.0, top[r] + log(sum[r]), live);
    }
  }
}

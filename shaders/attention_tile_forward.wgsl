// attention_tile_forward: causal self-attention over packed queries, keys and values, for GPUs.
//   s[t, j] = scale q[t] · k[j],  p[t, :] = softmax of s[t, :] over the visible j,
//   out[t] = Σ_j p[t, j] keep[t, j] v[j],  lse[t] = log Σ_j exp s[t, j]
// Query t sees keys t - band < j <= t (band 0: 0 <= j <= t) of its segment, if t < length; else
// out = lse = 0. See attention_bounds.
// A workgroup takes 32 queries of one head, and the keys that they see 32 at a time, through
// workgroup memory; see attention_tile. The largest tiles of a head come first.
// Keys are blocked by absolute position and summed in order: a row's bits do not depend on T, B or
// on the other rows (reduction "attention32").
// Dispatch grid(B * NH * ceil(T / 32)); the head size is 4 * HS4.
// Reads qkv, bounds (if flags & 17), state (if DROPOUT). Writes out =, lse = (first half of stats).
const HS4: u32 = 16u; // vec4s of a head
const DC: u32 = (HS4 + 7u) / 8u; // vec4s of a result's row a thread
const UD: u32 = 4u; // vec4s of a head in one go, a divisor of HS4
const LOADS: u32 = (HS4 + 1u) / 2u; // vec4s of a tile of 32 rows a thread
const DROPOUT: u32 = 0u;

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
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>; // (B, T, 3, NH, HS)
@group(0) @binding(2) var<storage, read> bounds: array<u32>; // (B) or (2, B, T)
@group(0) @binding(3) var<storage, read> state: array<u32>; // seed_lo, seed_hi, step, micro
@group(0) @binding(4) var<storage, read_write> out: array<vec4f>; // (B, T, NH, HS)
@group(0) @binding(5) var<storage, read_write> stats: array<f32>; // (2, B, NH, T): lse, delta

// @include "attention_tile.wgsl"
// @include "attention_bounds.wgsl"
// @include "philox.wgsl"
// @include "attention_dropout.wgsl"

var<workgroup> queries: array<vec4f, ROWS>;
var<workgroup> keys: array<vec4f, ROWS>;
var<workgroup> values: array<vec4f, ROWS>;
var<workgroup> scores: array<vec4f, SIDE * GROUPS>; // p (key, query), and what rows agree on

const LOWEST: f32 = -3.4028235e38;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let thread = lid.x;
  let tx = thread % 8u;
  let ty = thread / 8u;
  let T = params.T;
  let C4 = params.NH * HS4;
  let T4 = (T + 3u) / 4u;
  let tiles = (T + SIDE - 1u) / SIDE;
  let g = wg.y * nw.x + wg.x;
  let bh = g % (params.B * params.NH);
  if (g / (params.B * params.NH) >= tiles) { return; }
  let first = (tiles - 1u - g / (params.B * params.NH)) * SIDE;
  let b = bh / params.NH;
  let length = row_length(b);
  // Seek to q[b, 0, h, 0]; a key is NH heads further, a value another NH.
  let base = b * T * 3u * C4 + (bh % params.NH) * HS4;

  for (var e = thread; e < SIDE * HS4; e += 64u) {
    let t = min(first + e / HS4, T - 1u);
    queries[in_rows(e / HS4) + e % HS4] = qkv[base + t * 3u * C4 + e % HS4] * params.scale;
  }
  var o: array<vec4f, 4u * DC>;
  var top = vec4f(LOWEST); // largest score so far, by query
  var sum = vec4f(0); // of exp(score - top), over this thread's keys
  let t = first + 4u * ty + vec4u(0, 1, 2, 3);
  let low = vec4u(first_key(b, t.x), first_key(b, t.y), first_key(b, t.z), first_key(b, t.w));
  let span = select(vec4u(0), t + 1u - low, t < vec4u(length)); // number of visible keys
  let end = min(first + SIDE, length); // one past the last visible key of the tile
  let nearest = first_key(b, first); // of the tile
  // The next tile is on its way from memory while this one is worked on. Beyond the last visible key
  // that one again: what padding holds may be no number.
  let last = max(end, 1u) - 1u;
  var next_keys: array<vec4f, LOADS>;
  var next_values: array<vec4f, LOADS>;
  // @unroll
  for (var l = 0u; l < LOADS; l++) {
    let e = l * 64u + thread;
    let at = base + C4 + min(nearest / SIDE * SIDE + e / HS4, last) * 3u * C4 + e % HS4;
    next_keys[l] = qkv[at];
    next_values[l] = qkv[at + C4];
  }
  for (var j = nearest / SIDE * SIDE; j < end; j += SIDE) {
    // @unroll
    for (var l = 0u; l < LOADS; l++) {
      let e = l * 64u + thread;
      if (e < SIDE * HS4) {
        keys[in_rows(e / HS4) + e % HS4] = next_keys[l];
        values[in_rows(e / HS4) + e % HS4] = next_values[l];
      }
      let at = base + C4 + min(j + SIDE + e / HS4, last) * 3u * C4 + e % HS4;
      next_keys[l] = qkv[at];
      next_values[l] = qkv[at + C4];
    }
    workgroupBarrier();
    var s = array<vec4f, 4>(); // of query i: keys 4 tx …
    for (var d0 = 0u; d0 < HS4; d0 += UD) {
      // @unroll
      for (var d1 = 0u; d1 < UD; d1++) {
        let d = d0 + d1;
        var x: array<vec4f, 4>;
        // @unroll
        for (var i = 0u; i < 4u; i++) { x[i] = queries[(i * GROUPS + ty) * STRIDE + d]; }
        // @unroll
        for (var k = 0u; k < 4u; k++) {
          let y = keys[(k * GROUPS + tx) * STRIDE + d];
          // @unroll
          for (var i = 0u; i < 4u; i++) { s[i][k] = dot_add(x[i], y, s[i][k]); }
        }
      }
    }
    let key = j + 4u * tx + vec4u(0, 1, 2, 3);
    var most: vec4f; // of this thread's keys, by query
    // @unroll
    for (var i = 0u; i < 4u; i++) {
      s[i] = select(vec4f(LOWEST), s[i], key - low[i] < vec4u(span[i]));
      most[i] = max(max(s[i].x, s[i].y), max(s[i].z, s[i].w));
    }
    scores[tx * GROUPS + ty] = most;
    workgroupBarrier();
    let before = top;
    // @unroll
    for (var x = 0u; x < 8u; x++) { top = max(top, scores[x * GROUPS + ty]); }
    workgroupBarrier();
    // Exactly 1 where nothing changed, whatever exp(0) is: rows that see nothing here stay as is.
    let rescale = select(exp(before - top), vec4f(1), before == top);
    sum *= rescale;
    // @unroll
    for (var i = 0u; i < 4u; i++) {
      s[i] = select(vec4f(0), exp(s[i] - top[i]), key - low[i] < vec4u(span[i]));
      sum[i] += sum4(s[i]);
      if (DROPOUT == 1u) { s[i] *= keep4((bh * T + t[i]) * T4 + j / 4u + tx); }
      // @unroll
      for (var c = 0u; c < DC; c++) { o[i * DC + c] *= rescale[i]; }
    }
    // @unroll
    for (var k = 0u; k < 4u; k++) {
      scores[in_scores(4u * tx + k, ty)] = vec4f(s[0][k], s[1][k], s[2][k], s[3][k]);
    }
    workgroupBarrier();
    for (var k4 = 0u; k4 < GROUPS; k4++) {
      // @unroll
      for (var k1 = 0u; k1 < 4u; k1++) {
        let k = 4u * k4 + k1;
        let p = scores[in_scores(k, ty)];
        // @unroll
        for (var c = 0u; c < DC; c++) {
          let v = values[(k1 * GROUPS + k4) * STRIDE + min(tx + 8u * c, HS4 - 1u)];
          // @unroll
          for (var i = 0u; i < 4u; i++) { o[i * DC + c] = fma(vec4f(p[i]), v, o[i * DC + c]); }
        }
      }
    }
    workgroupBarrier();
  }
  scores[tx * GROUPS + ty] = sum;
  workgroupBarrier();
  var total = scores[ty];
  // @unroll
  for (var x = 1u; x < 8u; x++) { total += scores[x * GROUPS + ty]; }
  // @unroll
  for (var i = 0u; i < 4u; i++) {
    if (t[i] < T) {
      let live = span[i] > 0u;
      let at = (b * T + t[i]) * C4 + (bh % params.NH) * HS4; // seek to out[b, t, h, :]
      // @unroll
      for (var c = 0u; c < DC; c++) {
        if (tx + 8u * c < HS4) {
          out[at + tx + 8u * c] = select(vec4f(0), o[i * DC + c] / total[i], live);
        }
      }
      if (tx == 0u) { stats[bh * T + t[i]] = select(0.0, top[i] + log(total[i]), live); }
    }
  }
}

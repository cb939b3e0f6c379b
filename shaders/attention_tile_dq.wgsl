// attention_tile_dq: gradient of causal self-attention with respect to the queries, for GPUs.
//   delta[t] = dout[t] · out[t],  p[t, j] = exp(scale q[t] · k[j] - lse[t]) where visible, else 0,
//   ds[t, j] = p[t, j] (keep[t, j] dout[t] · v[j] - delta[t]),  dq[t] = scale Σ_j ds[t, j] k[j]
// Mapping, visibility and order of summation as in attention_tile_forward.
// Reads qkv, out, dout, bounds (if flags & 17), state (if DROPOUT), lse.
// Writes delta = (second half of stats) and the queries' third of dqkv: += if ADD, else =.
const HS4: u32 = 16u; // vec4s of a head
const DC: u32 = (HS4 + 7u) / 8u; // vec4s of a result's row a thread
const UD: u32 = 4u; // vec4s of a head in one go, a divisor of HS4
const LOADS: u32 = (HS4 + 1u) / 2u; // vec4s of a tile of 32 rows a thread
const DROPOUT: u32 = 0u;
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
@group(0) @binding(1) var<storage, read> qkv: array<vec4f>; // (B, T, 3, NH, HS)
@group(0) @binding(2) var<storage, read> out: array<vec4f>; // (B, T, NH, HS)
@group(0) @binding(3) var<storage, read> dout: array<vec4f>; // (B, T, NH, HS)
@group(0) @binding(4) var<storage, read> bounds: array<u32>; // (B) or (2, B, T)
@group(0) @binding(5) var<storage, read> state: array<u32>; // seed_lo, seed_hi, step, micro
@group(0) @binding(6) var<storage, read_write> stats: array<f32>; // (2, B, NH, T): lse, delta
@group(0) @binding(7) var<storage, read_write> dqkv: array<vec4f>; // (B, T, 3, NH, HS)

// @include "attention_tile.wgsl"
// @include "attention_bounds.wgsl"
// @include "philox.wgsl"
// @include "attention_dropout.wgsl"

var<workgroup> queries: array<vec4f, ROWS>;
var<workgroup> douts: array<vec4f, ROWS>;
var<workgroup> keys: array<vec4f, ROWS>;
var<workgroup> values: array<vec4f, ROWS>;
var<workgroup> scores: array<vec4f, SIDE * GROUPS>; // ds (key, query), and what rows agree on

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
  let head = (bh % params.NH) * HS4;
  // Seek to q[b, 0, h, 0]; a key is NH heads further, a value another NH.
  let base = b * T * 3u * C4 + head;

  for (var e = thread; e < SIDE * HS4; e += 64u) {
    let t = min(first + e / HS4, T - 1u);
    queries[in_rows(e / HS4) + e % HS4] = qkv[base + t * 3u * C4 + e % HS4] * params.scale;
    douts[in_rows(e / HS4) + e % HS4] = dout[(b * T + t) * C4 + head + e % HS4];
  }
  workgroupBarrier();
  let t = first + 4u * ty + vec4u(0, 1, 2, 3);
  var lse: vec4f;
  var part: vec4f; // of delta, over this thread's channels
  // @unroll
  for (var i = 0u; i < 4u; i++) {
    let row = min(t[i], T - 1u);
    lse[i] = stats[bh * T + row];
    // @unroll
    for (var c = 0u; c < DC; c++) {
      let d = tx + 8u * c;
      if (d < HS4) {
        let y = out[(b * T + row) * C4 + head + d];
        part[i] = dot_add(douts[(i * GROUPS + ty) * STRIDE + d], y, part[i]);
      }
    }
  }
  scores[tx * GROUPS + ty] = part;
  workgroupBarrier();
  var delta = scores[ty];
  // @unroll
  for (var x = 1u; x < 8u; x++) { delta += scores[x * GROUPS + ty]; }
  workgroupBarrier();

  var dq: array<vec4f, 4u * DC>;
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
    var dp = array<vec4f, 4>();
    for (var d0 = 0u; d0 < HS4; d0 += UD) {
      // @unroll
      for (var d1 = 0u; d1 < UD; d1++) {
        let d = d0 + d1;
        var x: array<vec4f, 4>;
        var y: array<vec4f, 4>;
        // @unroll
        for (var i = 0u; i < 4u; i++) {
          x[i] = queries[(i * GROUPS + ty) * STRIDE + d];
          y[i] = douts[(i * GROUPS + ty) * STRIDE + d];
        }
        // @unroll
        for (var k = 0u; k < 4u; k++) {
          let key = keys[(k * GROUPS + tx) * STRIDE + d];
          let value = values[(k * GROUPS + tx) * STRIDE + d];
          // @unroll
          for (var i = 0u; i < 4u; i++) {
            s[i][k] = dot_add(x[i], key, s[i][k]);
            dp[i][k] = dot_add(y[i], value, dp[i][k]);
          }
        }
      }
    }
    let key = j + 4u * tx + vec4u(0, 1, 2, 3);
    // @unroll
    for (var i = 0u; i < 4u; i++) {
      if (DROPOUT == 1u) { dp[i] *= keep4((bh * T + t[i]) * T4 + j / 4u + tx); }
      let seen = key - low[i] < vec4u(span[i]);
      s[i] = select(vec4f(0), exp(s[i] - lse[i]) * (dp[i] - delta[i]), seen);
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
        let ds = scores[in_scores(k, ty)];
        // @unroll
        for (var c = 0u; c < DC; c++) {
          let y = keys[(k1 * GROUPS + k4) * STRIDE + min(tx + 8u * c, HS4 - 1u)];
          // @unroll
          for (var i = 0u; i < 4u; i++) { dq[i * DC + c] = fma(vec4f(ds[i]), y, dq[i * DC + c]); }
        }
      }
    }
    workgroupBarrier();
  }
  // @unroll
  for (var i = 0u; i < 4u; i++) {
    if (t[i] < T) {
      // @unroll
      for (var c = 0u; c < DC; c++) {
        if (tx + 8u * c < HS4) {
          let at = base + t[i] * 3u * C4 + tx + 8u * c;
          let value = select(vec4f(0), dq[i * DC + c] * params.scale, span[i] > 0u);
          if (ADD == 1u) { dqkv[at] += value; } else { dqkv[at] = value; }
        }
      }
      if (tx == 0u) { stats[(params.B * params.NH + bh) * T + t[i]] = delta[i]; }
    }
  }
}

// attention_tile_dkv: gradients of causal self-attention with respect to keys and values, for GPUs.
//   p, ds and keep as in attention_tile_dq,
//   dk[j] = scale Σ_t ds[t, j] q[t],  dv[j] = Σ_t p[t, j] keep[t, j] dout[t]
// A workgroup takes 32 keys of one head, and the queries that see them 32 at a time, in order; see
// attention_tile. The first keys of a head, which most queries see, come first.
// Dispatch grid(B * NH * ceil(T / 32)).
// Reads qkv, dout, bounds (if flags & 17), state (if DROPOUT), stats.
// Writes the thirds of dqkv that belong to keys and values: += if ADD, else =.
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
@group(0) @binding(2) var<storage, read> dout: array<vec4f>; // (B, T, NH, HS)
@group(0) @binding(3) var<storage, read> bounds: array<u32>; // (B) or (2, B, T)
@group(0) @binding(4) var<storage, read> state: array<u32>; // seed_lo, seed_hi, step, micro
@group(0) @binding(5) var<storage, read> stats: array<f32>; // (2, B, NH, T): lse, delta
@group(0) @binding(6) var<storage, read_write> dqkv: array<vec4f>; // (B, T, 3, NH, HS)

// @include "attention_tile.wgsl"
// @include "attention_bounds.wgsl"
// @include "philox.wgsl"
// @include "attention_dropout.wgsl"

var<workgroup> queries: array<vec4f, ROWS>;
var<workgroup> douts: array<vec4f, ROWS>;
var<workgroup> keys: array<vec4f, ROWS>;
var<workgroup> values: array<vec4f, ROWS>;
var<workgroup> kept: array<vec4f, SIDE * GROUPS>; // p keep (query, key)
var<workgroup> dscores: array<vec4f, SIDE * GROUPS>; // ds (query, key)

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
  let first = g / (params.B * params.NH) * SIDE;
  let b = bh / params.NH;
  let length = row_length(b);
  let head = (bh % params.NH) * HS4;
  // Seek to q[b, 0, h, 0]; a key is NH heads further, a value another NH.
  let base = b * T * 3u * C4 + head;

  for (var e = thread; e < SIDE * HS4; e += 64u) {
    let at = base + C4 + min(first + e / HS4, T - 1u) * 3u * C4 + e % HS4;
    keys[in_rows(e / HS4) + e % HS4] = qkv[at];
    values[in_rows(e / HS4) + e % HS4] = qkv[at + C4];
  }
  var dk: array<vec4f, 4u * DC>; // of keys 4 ty …
  var dv: array<vec4f, 4u * DC>;
  let key = first + 4u * tx + vec4u(0, 1, 2, 3);
  // Number of queries that see a key, from its position on.
  let ends = vec4u(
    query_end(b, key.x),
    query_end(b, key.y),
    query_end(b, key.z),
    query_end(b, key.w),
  );
  let span = select(vec4u(0), ends - key, key < vec4u(length));
  // One past the last query that sees a key of the tile.
  let end = query_end(b, first + SIDE - 1u);
  // The next tile is on its way from memory while this one is worked on. Beyond the last query that
  // one again: what padding holds may be no number.
  let last = max(end, 1u) - 1u;
  var next_queries: array<vec4f, LOADS>;
  var next_douts: array<vec4f, LOADS>;
  // @unroll
  for (var l = 0u; l < LOADS; l++) {
    let e = l * 64u + thread;
    let t = min(first + e / HS4, last);
    next_queries[l] = qkv[base + t * 3u * C4 + e % HS4];
    next_douts[l] = dout[(b * T + t) * C4 + head + e % HS4];
  }
  for (var t0 = first; t0 < end; t0 += SIDE) {
    // @unroll
    for (var l = 0u; l < LOADS; l++) {
      let e = l * 64u + thread;
      if (e < SIDE * HS4) {
        queries[in_rows(e / HS4) + e % HS4] = next_queries[l] * params.scale;
        douts[in_rows(e / HS4) + e % HS4] = next_douts[l];
      }
      let t = min(t0 + SIDE + e / HS4, last);
      next_queries[l] = qkv[base + t * 3u * C4 + e % HS4];
      next_douts[l] = dout[(b * T + t) * C4 + head + e % HS4];
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
    // @unroll
    for (var i = 0u; i < 4u; i++) {
      let t = t0 + 4u * ty + i;
      let row = min(t, T - 1u);
      let lse = stats[bh * T + row];
      let delta = stats[(params.B * params.NH + bh) * T + row];
      let seen = (vec4u(t) - key < span) & vec4<bool>(t < end);
      var p = select(vec4f(0), exp(s[i] - lse), seen);
      if (DROPOUT == 1u) {
        let keep = keep4((bh * T + t) * T4 + first / 4u + tx);
        dscores[in_scores(4u * ty + i, tx)] = select(vec4f(0), p * (dp[i] * keep - delta), seen);
        p *= keep;
      } else {
        dscores[in_scores(4u * ty + i, tx)] = select(vec4f(0), p * (dp[i] - delta), seen);
      }
      kept[in_scores(4u * ty + i, tx)] = p;
    }
    workgroupBarrier();
    for (var r4 = 0u; r4 < GROUPS; r4++) {
      // @unroll
      for (var r1 = 0u; r1 < 4u; r1++) {
        let r = 4u * r4 + r1;
        let p = kept[in_scores(r, ty)];
        let ds = dscores[in_scores(r, ty)];
        // @unroll
        for (var c = 0u; c < DC; c++) {
          let at = (r1 * GROUPS + r4) * STRIDE + min(tx + 8u * c, HS4 - 1u);
          let q = queries[at];
          let dy = douts[at];
          // @unroll
          for (var i = 0u; i < 4u; i++) {
            dk[i * DC + c] = fma(vec4f(ds[i]), q, dk[i * DC + c]);
            dv[i * DC + c] = fma(vec4f(p[i]), dy, dv[i * DC + c]);
          }
        }
      }
    }
    workgroupBarrier();
  }
  // @unroll
  for (var i = 0u; i < 4u; i++) {
    let j = first + 4u * ty + i;
    if (j < T) {
      // @unroll
      for (var c = 0u; c < DC; c++) {
        if (tx + 8u * c < HS4) {
          let at = base + C4 + j * 3u * C4 + tx + 8u * c;
          let live = j < length;
          let x = select(vec4f(0), dk[i * DC + c], live);
          let y = select(vec4f(0), dv[i * DC + c], live);
          if (ADD == 1u) {
            dqkv[at] += x;
            dqkv[at + C4] += y;
          } else {
            dqkv[at] = x;
            dqkv[at + C4] = y;
          }
        }
      }
    }
  }
}

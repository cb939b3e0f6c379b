// attention_forward_portable: attention_forward without subgroups, for any head size up to 256.
// One workgroup a query of one head; keys in blocks of WG_SIZE by absolute position, a thread a key
// for the scores, then a thread a channel for the values (reduction "attention_portable<WG_SIZE>").
// Dispatch grid(B * NH * T). WG_SIZE is a power of two.
// Reads qkv, bounds (flags & 17), state (flags & 2). Writes out =, lse = (first half of stats),
// scores = (flags & 4; blocks without a visible key are left as they are).
override WG_SIZE: u32 = 64;

struct Params {
  B: u32,
  T: u32,
  NH: u32,
  HS: u32,
  band: u32,
  flags: u32, // 1: lengths, 2: dropout, 4: scores, 8: add to dqkv, 16: segments
  site: u32,
  rate: f32,
  scale: f32,
  pad0: u32,
  pad1: u32,
  pad2: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>; // (B, T, 3, NH, HS)
@group(0) @binding(2) var<storage, read> bounds: array<u32>; // (B) or (2, B, T)
@group(0) @binding(3) var<storage, read> state: array<u32>; // seed_lo, seed_hi, step, micro
@group(0) @binding(4) var<storage, read_write> out: array<f32>; // (B, T, NH, HS)
@group(0) @binding(5) var<storage, read_write> stats: array<f32>; // (2, B, NH, T): lse, delta
@group(0) @binding(6) var<storage, read_write> scores: array<f32>; // (B, NH, T, columns)

var<workgroup> query: array<f32, 256>;
var<workgroup> sums: array<f32, 256>; // of the channels of out
var<workgroup> weight: array<f32, WG_SIZE>;
var<workgroup> partial: array<f32, WG_SIZE>;

// @include "attention_bounds.wgsl"
// @include "philox.wgsl"
// @include "attention_dropout.wgsl"

const LOWEST: f32 = -3.4028235e38;

fn keep(bh: u32, t: u32, j: u32, columns: u32) -> f32 {
  if ((params.flags & 2u) == 0u) { return 1.0; }
  let four = keep4(((bh * params.T + t) * columns + j) / 4u);
  return four[j % 4u];
}

// Reduces partial over the workgroup; every thread gets the result. Called by all threads.
fn tree(lane: u32, value: f32, largest: bool) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  for (var half = WG_SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      let other = partial[lane + half];
      partial[lane] = select(partial[lane] + other, max(partial[lane], other), largest);
    }
    workgroupBarrier();
  }
  let result = partial[0];
  workgroupBarrier();
  return result;
}

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let T = params.T;
  let HS = params.HS;
  let C = params.NH * HS;
  let columns = (T + 3u) / 4u * 4u; // of scores and of the dropout's numbers
  let g = wg.y * nw.x + wg.x;
  let bh = g / T;
  if (bh >= params.B * params.NH) { return; }
  let b = bh / params.NH;
  let head = (bh % params.NH) * HS;
  let length = row_length(b);
  // Seek to q[b, 0, h, 0]; a key is NH heads further, a value another NH.
  let base = b * T * 3u * C + head;
  // Rows are taken from both ends, so that any contiguous share of workgroups is as much work.
  let t = select((g % T) / 2u, T - 1u - (g % T) / 2u, ((g % T) & 1u) == 1u);
  for (var d = lid.x; d < HS; d += WG_SIZE) {
    query[d] = qkv[base + t * 3u * C + d] * params.scale;
    sums[d] = 0.0;
  }
  workgroupBarrier();
  let low = first_key(b, t); // first visible key
  let end = select(0u, t + 1u, t < length); // one past the last one
  var top = LOWEST; // largest score so far
  var sum = 0.0; // of exp(score - top)
  for (var j0 = low / WG_SIZE * WG_SIZE; j0 < end; j0 += WG_SIZE) {
    let j = j0 + lid.x;
    let seen = j >= low && j < end;
    var score = LOWEST;
    if (seen) {
      let at = base + C + j * 3u * C;
      var x = 0.0;
      for (var d = 0u; d < HS; d++) { x = fma(query[d], qkv[at + d], x); }
      score = x;
      if ((params.flags & 4u) != 0u) { scores[(bh * T + t) * columns + j] = score; }
    }
    let now = max(top, tree(lid.x, score, true));
    var p = select(0.0, exp(score - now), seen);
    let total = tree(lid.x, p, false);
    let rescale = select(exp(top - now), 1.0, top == now);
    sum = fma(sum, rescale, total);
    top = now;
    weight[lid.x] = p * keep(bh, t, j, columns);
    workgroupBarrier();
    let start = max(j0, low);
    for (var d = lid.x; d < HS; d += WG_SIZE) {
      var x = sums[d] * rescale;
      for (var k = start; k < min(j0 + WG_SIZE, end); k++) {
        x = fma(weight[k - j0], qkv[base + 2u * C + k * 3u * C + d], x);
      }
      sums[d] = x;
    }
    workgroupBarrier();
  }
  for (var d = lid.x; d < HS; d += WG_SIZE) {
    out[(b * T + t) * C + head + d] = select(0.0, sums[d] / sum, end > 0u);
  }
  if (lid.x == 0u) { stats[bh * T + t] = select(0.0, top + log(sum), end > 0u); }
}

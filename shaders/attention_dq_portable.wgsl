// attention_dq_portable: attention_dq without subgroups, for any head size up to 256.
// Mapping and order of summation as in attention_forward_portable. Dispatch grid(B * NH * T).
// Reads qkv, out, dout, bounds (flags & 17), state (flags & 2), scores (flags & 4), lse.
// Writes delta = (second half of stats) and the queries' third of dqkv: += if flags & 8, else =.
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
@group(0) @binding(2) var<storage, read> out: array<f32>; // (B, T, NH, HS)
@group(0) @binding(3) var<storage, read> dout: array<f32>; // (B, T, NH, HS)
@group(0) @binding(4) var<storage, read> bounds: array<u32>; // (B) or (2, B, T)
@group(0) @binding(5) var<storage, read> state: array<u32>; // seed_lo, seed_hi, step, micro
@group(0) @binding(6) var<storage, read> scores: array<f32>; // (B, NH, T, columns)
@group(0) @binding(7) var<storage, read_write> stats: array<f32>; // (2, B, NH, T): lse, delta
@group(0) @binding(8) var<storage, read_write> dqkv: array<f32>; // (B, T, 3, NH, HS)

var<workgroup> query: array<f32, 256>;
var<workgroup> dy: array<f32, 256>; // dout
var<workgroup> sums: array<f32, 256>; // of the channels of dq
var<workgroup> weight: array<f32, WG_SIZE>; // ds
var<workgroup> partial: array<f32, WG_SIZE>;

// @include "attention_bounds.wgsl"
// @include "philox.wgsl"
// @include "attention_dropout.wgsl"

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
  let at = (b * T + t) * C + head; // seek to out[b, t, h, :]
  var product = 0.0;
  for (var d = lid.x; d < HS; d += WG_SIZE) {
    query[d] = qkv[base + t * 3u * C + d] * params.scale;
    dy[d] = dout[at + d];
    sums[d] = 0.0;
    product = fma(dy[d], out[at + d], product);
  }
  let delta = tree(lid.x, product, false);
  let lse = stats[bh * T + t];
  let low = first_key(b, t); // first visible key
  let end = select(0u, t + 1u, t < length); // one past the last one
  for (var j0 = low / WG_SIZE * WG_SIZE; j0 < end; j0 += WG_SIZE) {
    let j = j0 + lid.x;
    var ds = 0.0;
    if (j >= low && j < end) {
      let key = base + C + j * 3u * C;
      var score = 0.0;
      var dp = 0.0;
      if ((params.flags & 4u) != 0u) {
        score = scores[(bh * T + t) * columns + j];
      } else {
        for (var d = 0u; d < HS; d++) { score = fma(query[d], qkv[key + d], score); }
      }
      for (var d = 0u; d < HS; d++) { dp = fma(dy[d], qkv[key + C + d], dp); }
      ds = exp(score - lse) * (dp * keep(bh, t, j, columns) - delta);
    }
    weight[lid.x] = ds;
    workgroupBarrier();
    let start = max(j0, low);
    for (var d = lid.x; d < HS; d += WG_SIZE) {
      var x = sums[d];
      for (var k = start; k < min(j0 + WG_SIZE, end); k++) {
        x = fma(weight[k - j0], qkv[base + C + k * 3u * C + d], x);
      }
      sums[d] = x;
    }
    workgroupBarrier();
  }
  for (var d = lid.x; d < HS; d += WG_SIZE) {
    let to = base + t * 3u * C + d;
    let dq = sums[d] * params.scale;
    if ((params.flags & 8u) != 0u) { dqkv[to] += dq; } else { dqkv[to] = dq; }
  }
  if (lid.x == 0u) { stats[(params.B * params.NH + bh) * T + t] = delta; }
}

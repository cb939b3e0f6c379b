// attention_dkv_portable: attention_dkv without subgroups, for any head size up to 256.
// One workgroup a key of one head; queries in blocks of WG_SIZE from the key's own position on, a
// thread a query for the scores, then a thread a channel. Dispatch grid(B * NH * T).
// Reads qkv, dout, bounds (flags & 17), state (flags & 2), scores (flags & 4), stats.
// Writes the thirds of dqkv that belong to keys and values: += if flags & 8, else =.
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
@group(0) @binding(2) var<storage, read> dout: array<f32>; // (B, T, NH, HS)
@group(0) @binding(3) var<storage, read> bounds: array<u32>; // (B) or (2, B, T)
@group(0) @binding(4) var<storage, read> state: array<u32>; // seed_lo, seed_hi, step, micro
@group(0) @binding(5) var<storage, read> scores: array<f32>; // (B, NH, T, columns)
@group(0) @binding(6) var<storage, read> stats: array<f32>; // (2, B, NH, T): lse, delta
@group(0) @binding(7) var<storage, read_write> dqkv: array<f32>; // (B, T, 3, NH, HS)

var<workgroup> key: array<f32, 256>;
var<workgroup> value: array<f32, 256>;
var<workgroup> dkey: array<f32, 256>;
var<workgroup> dvalue: array<f32, 256>;
var<workgroup> score_weight: array<f32, WG_SIZE>; // ds
var<workgroup> value_weight: array<f32, WG_SIZE>; // p keep

// @include "attention_bounds.wgsl"
// @include "philox.wgsl"
// @include "attention_dropout.wgsl"

fn keep(bh: u32, t: u32, j: u32, columns: u32) -> f32 {
  if ((params.flags & 2u) == 0u) { return 1.0; }
  let four = keep4(((bh * params.T + t) * columns + j) / 4u);
  return four[j % 4u];
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
  let j = select((g % T) / 2u, T - 1u - (g % T) / 2u, ((g % T) & 1u) == 1u);
  for (var d = lid.x; d < HS; d += WG_SIZE) {
    let at = base + C + j * 3u * C + d;
    key[d] = qkv[at];
    value[d] = qkv[at + C];
    dkey[d] = 0.0;
    dvalue[d] = 0.0;
  }
  workgroupBarrier();
  let end = query_end(b, j); // at most j when no query sees the key
  for (var t0 = j; t0 < end; t0 += WG_SIZE) {
    let t = t0 + lid.x;
    var ds = 0.0;
    var p = 0.0;
    if (t < end) {
      let query = base + t * 3u * C;
      let dy = (b * T + t) * C + head; // seek to dout[b, t, h, :]
      var score = 0.0;
      var dp = 0.0;
      if ((params.flags & 4u) != 0u) {
        score = scores[(bh * T + t) * columns + j];
      } else {
        for (var d = 0u; d < HS; d++) { score = fma(qkv[query + d] * params.scale, key[d], score); }
      }
      for (var d = 0u; d < HS; d++) { dp = fma(value[d], dout[dy + d], dp); }
      let kept = keep(bh, t, j, columns);
      p = exp(score - stats[bh * T + t]);
      ds = p * (dp * kept - stats[(params.B * params.NH + bh) * T + t]);
      p *= kept;
    }
    score_weight[lid.x] = ds;
    value_weight[lid.x] = p;
    workgroupBarrier();
    for (var d = lid.x; d < HS; d += WG_SIZE) {
      var x = dkey[d];
      var y = dvalue[d];
      for (var k = t0; k < min(t0 + WG_SIZE, end); k++) {
        x = fma(score_weight[k - t0], qkv[base + k * 3u * C + d], x);
        y = fma(value_weight[k - t0], dout[(b * T + k) * C + head + d], y);
      }
      dkey[d] = x;
      dvalue[d] = y;
    }
    workgroupBarrier();
  }
  for (var d = lid.x; d < HS; d += WG_SIZE) {
    let at = base + C + j * 3u * C + d;
    let dk = dkey[d] * params.scale;
    if ((params.flags & 8u) != 0u) {
      dqkv[at] += dk;
      dqkv[at + C] += dvalue[d];
    } else {
      dqkv[at] = dk;
      dqkv[at + C] = dvalue[d];
    }
  }
}

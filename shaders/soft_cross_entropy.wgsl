// soft_cross_entropy: softmax cross-entropy of rows of a few columns against soft labels.
//   losses[n] = sum over k of labels[n, k] (lse[n] - z[n, k]),  lse[n] = log(sum of exp(z[n, :K]))
//   z[n, k] = scale * (softmax(z[n, :K])[k] * (sum of labels[n, :K]) - labels[n, k])
// z[n, k] is logits[n * rowStride + k * columnStride]: columns may lie N apart, as choices do. A
// row of zero labels is padding: loss and gradient 0. The second line only where GRADIENT is 1.
// One thread a row; dispatch grid(ceil(N / 64)).
// Reads labels (N, K). Writes losses (N) =, logits (N K) = (only where GRADIENT is 1).
const GRADIENT: u32 = 1u; // 0: the loss alone, for evaluation
const WG_SIZE: u32 = 64u;

struct Params {
  N: u32,
  K: u32,
  rowStride: u32,
  columnStride: u32,
}
struct LossState {
  scale: f32, // coefficient / examples of the step
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> state: LossState;
@group(0) @binding(2) var<storage, read> labels: array<f32>; // (N, K)
@group(0) @binding(3) var<storage, read_write> logits: array<f32>; // (N K)
@group(0) @binding(4) var<storage, read_write> losses: array<f32>; // (N)

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let n = (wg.y * nw.x + wg.x) * WG_SIZE + lid.x;
  if (n >= params.N) { return; }
  let z = n * params.rowStride; // seek to z[n, :]
  let p = n * params.K; // seek to labels[n, :]
  let step = params.columnStride;
  var top = logits[z];
  for (var k = 1u; k < params.K; k++) { top = max(top, logits[z + k * step]); }
  var sum = 0.0;
  for (var k = 0u; k < params.K; k++) { sum += exp(logits[z + k * step] - top); }
  let rest = log(sum);
  var loss = 0.0;
  var weight = 0.0;
  for (var k = 0u; k < params.K; k++) {
    let label = labels[p + k];
    weight += label;
    // A class without a share may have any logit, -infinity too.
    if (label != 0.0) { loss = fma(label, (top - logits[z + k * step]) + rest, loss); }
  }
  losses[n] = loss;
  if (GRADIENT == 0u) { return; }
  for (var k = 0u; k < params.K; k++) {
    let i = z + k * step;
    let share = exp(logits[i] - top) / sum;
    logits[i] = select(state.scale * (weight * share - labels[p + k]), 0.0, weight == 0.0);
  }
}

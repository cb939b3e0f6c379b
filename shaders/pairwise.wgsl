// pairwise: logistic loss of comparisons among the K scores of each of E prompts.
//   losses[e, i] = sum over j of w[e, i, j] softplus(r[e, j] - r[e, i])
//   softplus(x) = log(1 + exp(x)) = -log sigma(-x)
//   dscores[e, i] = scale * sum over j of
//     w[e, j, i] sigma(r[e, i] - r[e, j]) - w[e, i, j] sigma(r[e, j] - r[e, i])
// w[e, i, j] is the weight of "i is better than j": 0 where nothing is said, as for ties. dscores
// only where GRADIENT is 1. One thread a score, j in order; dispatch grid(ceil(E K / 64)).
// Reads scores (E K), weights (E, K, K). Writes losses (E K) =, dscores (E K) =.
const GRADIENT: u32 = 1u; // 0: the loss alone, for evaluation
const WG_SIZE: u32 = 64u;

struct Params {
  E: u32,
  K: u32,
  pad0: u32,
  pad1: u32,
}
struct LossState {
  scale: f32, // coefficient / prompts of the step
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> state: LossState;
@group(0) @binding(2) var<storage, read> scores: array<f32>; // (E K)
@group(0) @binding(3) var<storage, read> weights: array<f32>; // (E, K, K)
@group(0) @binding(4) var<storage, read_write> losses: array<f32>; // (E K)
@group(0) @binding(5) var<storage, read_write> dscores: array<f32>; // (E K)

// log(1 + x) for x from 0 to 1: the sum would lose a small x, so a short series has it there.
fn log1p(x: f32) -> f32 {
  let series = x * (1.0 - x * (0.5 - x * (0.33333333 - x * 0.25)));
  return select(log(1.0 + x), series, x < 0.01);
}

// exp never overflows: its argument is not above 0.
fn softplus(x: f32) -> f32 { return max(x, 0.0) + log1p(exp(-abs(x))); }

fn sigma(x: f32) -> f32 {
  let e = exp(-abs(x));
  return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let n = (wg.y * nw.x + wg.x) * WG_SIZE + lid.x;
  let K = params.K;
  if (n >= params.E * K) { return; }
  let i = n % K;
  let row = n - i; // seek to scores[e, :]
  let table = row * K; // seek to weights[e, :, :]
  let own = scores[n];
  var loss = 0.0;
  var gradient = 0.0;
  for (var j = 0u; j < K; j++) {
    let behind = scores[row + j] - own;
    let better = weights[table + i * K + j];
    let worse = weights[table + j * K + i];
    if (better != 0.0) { loss = fma(better, softplus(behind), loss); }
    if (GRADIENT == 1u) {
      gradient += worse * sigma(-behind) - better * sigma(behind);
    }
  }
  losses[n] = loss;
  if (GRADIENT == 1u) { dscores[n] = state.scale * gradient; }
}

// pair_metrics: sums over the comparisons in which a row is the better side, each counting 1.
//   chosen[n] = sum over j of r[i], rejected[n] = sum of r[j], right[n] = number with r[i] > r[j]
//   chosenLogps[n] = sum of logp[i], rejectedLogps[n] = sum of logp[j]
// over all j with w[e, i, j] != 0, n = (e, i). One thread a row; dispatch grid(ceil(E K / 64)).
// Reads scores, logps (E K), weights (E, K, K). Writes the five sums (E K) =.
const WG_SIZE: u32 = 64u;

struct Params {
  E: u32,
  K: u32,
  pad0: u32,
  pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<f32>; // (E K)
@group(0) @binding(2) var<storage, read> logps: array<f32>; // (E K)
@group(0) @binding(3) var<storage, read> weights: array<f32>; // (E, K, K)
@group(0) @binding(4) var<storage, read_write> chosen: array<f32>; // (E K)
@group(0) @binding(5) var<storage, read_write> rejected: array<f32>; // (E K)
@group(0) @binding(6) var<storage, read_write> right: array<f32>; // (E K)
@group(0) @binding(7) var<storage, read_write> chosenLogps: array<f32>; // (E K)
@group(0) @binding(8) var<storage, read_write> rejectedLogps: array<f32>; // (E K)

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
  var sums = array<f32, 5>(0.0, 0.0, 0.0, 0.0, 0.0);
  for (var j = 0u; j < K; j++) {
    if (weights[row * K + i * K + j] == 0.0) { continue; }
    sums[0] += scores[n];
    sums[1] += scores[row + j];
    sums[2] += select(0.0, 1.0, scores[n] > scores[row + j]);
    sums[3] += logps[n];
    sums[4] += logps[row + j];
  }
  chosen[n] = sums[0];
  rejected[n] = sums[1];
  right[n] = sums[2];
  chosenLogps[n] = sums[3];
  rejectedLogps[n] = sums[4];
}

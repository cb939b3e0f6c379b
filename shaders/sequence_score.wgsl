// sequence_score: log-probability of the response of each row, and how far it is from a reference.
//   logps[r] = -sum over t of nll[r, t]
//   scores[r] = beta * (logps[r] - reference[r])
// One workgroup a row: WG_SIZE sums of every WG_SIZE-th position, then a tree, so that the order is
// a function of T alone. nll is 0 where a position is not the response's. Dispatch grid(R).
// Reads nll (R, T), reference (R). Writes logps (R) =, scores (R) =.
const WG_SIZE: u32 = 32u; // a power of two

struct Params {
  R: u32,
  T: u32,
  pad0: u32,
  pad1: u32,
}
struct DpoState {
  beta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> state: DpoState;
@group(0) @binding(2) var<storage, read> nll: array<f32>; // (R, T)
@group(0) @binding(3) var<storage, read> reference: array<f32>; // (R)
@group(0) @binding(4) var<storage, read_write> logps: array<f32>; // (R)
@group(0) @binding(5) var<storage, read_write> scores: array<f32>; // (R)

var<workgroup> partial: array<f32, WG_SIZE>;

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let r = wg.y * nw.x + wg.x;
  var total = 0.0;
  if (r < params.R) {
    let row = r * params.T; // seek to nll[r, :]
    for (var t = lid.x; t < params.T; t += WG_SIZE) { total += nll[row + t]; }
  }
  partial[lid.x] = total;
  for (var half = WG_SIZE / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lid.x < half) { partial[lid.x] += partial[lid.x + half]; }
  }
  if (lid.x == 0u && r < params.R) {
    let logp = -partial[0];
    logps[r] = logp;
    scores[r] = state.beta * (logp - reference[r]);
  }
}

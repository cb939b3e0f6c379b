// sequence_weights: what the loss of each position has to be multiplied with, so that its gradient
// is that of a loss of the rows' scores.
//   weights[r, t] = -beta * dscores[r] * mask[r, t]
// as scores[r] = beta * (-sum over t of nll[r, t] - reference[r]). One thread a position; dispatch
// grid(ceil(R T / 64)).
// Reads mask (R, T), dscores (R). Writes weights (R, T) =.
const WG_SIZE: u32 = 64u;

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
@group(0) @binding(2) var<storage, read> mask: array<f32>; // (R, T)
@group(0) @binding(3) var<storage, read> dscores: array<f32>; // (R)
@group(0) @binding(4) var<storage, read_write> weights: array<f32>; // (R, T)

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let n = (wg.y * nw.x + wg.x) * WG_SIZE + lid.x;
  if (n >= params.R * params.T) { return; }
  weights[n] = -state.beta * dscores[n / params.T] * mask[n];
}

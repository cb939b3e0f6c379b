// ppo_value: the clipped squared error of a value model, token by token.
//   held = clamp(value, old - clip, old + clip)
//   losses = mask * max((value - goal)^2, (held - goal)^2) / 2
//   dvalues = scale * mask * (value - goal where the first is the larger or equal, else 0)
//   clipped = mask where the second is larger
// One thread a row n; dispatch grid(ceil(N / 64)). Where mask is 0 all are 0.
// Reads values (N), tokens (N, 4): old value, goal, mask, none.
// Writes losses, clipped (N) =, dvalues (N) = (only where GRADIENT is 1).
const GRADIENT: u32 = 1u; // 0: the loss alone
const WG_SIZE: u32 = 64u;

struct Params {
  N: u32,
  pad0: u32,
  pad1: u32,
  pad2: u32,
}
struct PpoState {
  clip: f32,
}
struct LossState {
  scale: f32, // 1 / unmasked tokens of the step
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> state: PpoState;
@group(0) @binding(2) var<uniform> loss_state: LossState;
@group(0) @binding(3) var<storage, read> values: array<f32>; // (N)
@group(0) @binding(4) var<storage, read> tokens: array<vec4f>; // (N, 4)
@group(0) @binding(5) var<storage, read_write> losses: array<f32>; // (N)
@group(0) @binding(6) var<storage, read_write> clipped: array<f32>; // (N)
@group(0) @binding(7) var<storage, read_write> dvalues: array<f32>; // (N)

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let n = (wg.y * nw.x + wg.x) * WG_SIZE + lid.x;
  if (n >= params.N) { return; }
  let token = tokens[n];
  let mask = token.z;
  var loss = 0.0;
  var isClipped = 0.0;
  var gradient = 0.0;
  if (mask != 0.0) {
    let value = values[n];
    let held = clamp(value, token.x - state.clip, token.x + state.clip);
    let off = value - token.y;
    let free = off * off;
    let bound = (held - token.y) * (held - token.y);
    loss = mask * 0.5 * max(free, bound);
    isClipped = select(0.0, mask, bound > free);
    gradient = select(0.0, loss_state.scale * mask * off, free >= bound);
  }
  losses[n] = loss;
  clipped[n] = isClipped;
  if (GRADIENT == 1u) { dvalues[n] = gradient; }
}

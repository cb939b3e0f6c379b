// ppo_policy: the clipped loss of a policy, token by token, of a chunk of rows.
//   ratio = exp(logp - old),   logp = -nll
//   losses = mask * max(-A * ratio, -A * clamp(ratio, 1 - clip, 1 + clip))
//   weights = d losses / d nll = mask * (A * ratio where the first is the larger or equal, else 0)
// so that softmax cross-entropy with these weights has this loss's gradient in the logits.
//   kl = mask * (logp - old)^2 / 2,   clipped = mask where the second is larger,   ratios = mask ratio
// One thread a row n of the chunk; dispatch grid(ceil(rows / 64)). Where mask is 0 all are 0.
// Reads nll (N), tokens (N, 4): old log-probability, advantage A, mask, none.
// Writes weights, losses, kl, clipped, ratios (N) =, rows start to start + rows of them.
const WG_SIZE: u32 = 64u;

struct Params {
  rows: u32,
  start: u32, // first row of the chunk
  pad0: u32,
  pad1: u32,
}
struct PpoState {
  clip: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> state: PpoState;
@group(0) @binding(2) var<storage, read> nll: array<f32>; // (N)
@group(0) @binding(3) var<storage, read> tokens: array<vec4f>; // (N, 4)
@group(0) @binding(4) var<storage, read_write> weights: array<f32>; // (N)
@group(0) @binding(5) var<storage, read_write> losses: array<f32>; // (N)
@group(0) @binding(6) var<storage, read_write> kl: array<f32>; // (N)
@group(0) @binding(7) var<storage, read_write> clipped: array<f32>; // (N)
@group(0) @binding(8) var<storage, read_write> ratios: array<f32>; // (N)

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let row = (wg.y * nw.x + wg.x) * WG_SIZE + lid.x;
  if (row >= params.rows) { return; }
  let n = params.start + row;
  let token = tokens[n];
  let mask = token.z;
  var weight = 0.0;
  var loss = 0.0;
  var divergence = 0.0;
  var isClipped = 0.0;
  var ratio = 0.0;
  if (mask != 0.0) {
    let shift = -nll[n] - token.x;
    ratio = exp(shift);
    let free = -token.y * ratio;
    let held = -token.y * clamp(ratio, 1.0 - state.clip, 1.0 + state.clip);
    loss = mask * max(free, held);
    weight = select(0.0, mask * token.y * ratio, free >= held);
    divergence = mask * 0.5 * shift * shift;
    isClipped = select(0.0, mask, held > free);
    ratio *= mask;
  }
  weights[n] = weight;
  losses[n] = loss;
  kl[n] = divergence;
  clipped[n] = isClipped;
  ratios[n] = ratio;
}

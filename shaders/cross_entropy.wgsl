// cross_entropy: softmax cross-entropy of a chunk of logits, its gradient in place.
//   nll = log(sum of exp(logits[r, :V])) - logits[r, target]
//   losses[start + r] = mask * nll
//   logits[r, :V] = scale * mask * (softmax(logits[r, :V]) - onehot(target)),  logits[r, V:] = 0
// One subgroup of LANES a row; dispatch grid(rows). Two passes: an online maximum and sum, then the
// gradient. Where mask is 0 nothing is read: loss and gradient are 0, whatever the logits are.
// An unmasked target outside [0, V) is never followed: its loss is 3.4e38 and its gradient 0.
// Needs ld % 4 == 0; cross_entropy_portable.wgsl takes any.
// Reads targets, mask (N). Writes losses (N) =, logits (rows, ld) = (only where GRADIENT is 1).
const LANES: u32 = 8u;
const GRADIENT: u32 = 1u; // 0: the loss alone, for evaluation
const UNROLL: u32 = 4u; // independent loads of a lane

struct Params {
  rows: u32,
  V: u32, // live columns
  ld: u32, // columns a row of logits, V <= ld
  start: u32, // row of targets, mask and losses that belongs to logits[0, :]
}
struct LossState {
  scale: f32, // 1 / unmasked tokens of the step, times the loss's coefficient
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> state: LossState;
@group(0) @binding(2) var<storage, read> targets: array<u32>; // (N)
@group(0) @binding(3) var<storage, read> mask: array<f32>; // (N)
@group(0) @binding(4) var<storage, read_write> logits: array<vec4f>; // (rows, ld)
@group(0) @binding(5) var<storage, read_write> losses: array<f32>; // (N)

const LOWEST = -3.4028235e38;

// @include "columns.wgsl"

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let r = wg.y * nw.x + wg.x;
  if (r >= params.rows) { return; }
  let ld4 = params.ld / 4u;
  let full4 = params.V / 4u; // vectors without a padded column
  let live4 = (params.V + 3u) / 4u;
  let at = r * ld4; // seek to logits[r, :]
  let weight = mask[params.start + r];
  let y = targets[params.start + r];
  if (weight == 0.0 || y >= params.V) {
    if (lid.x == 0u) { losses[params.start + r] = select(-LOWEST, 0.0, weight == 0.0); }
    if (GRADIENT == 1u) {
      for (var i = lid.x; i < ld4; i += LANES) { logits[at + i] = vec4f(0); }
    }
    return;
  }

  var m = LOWEST; // maximum of this lane's columns so far
  var s = 0.0; // sum of exp(x - m) over them
  var x: array<vec4f, UNROLL>;
  var i = lid.x;
  for (; i + (UNROLL - 1u) * LANES < full4; i += UNROLL * LANES) {
    // @unroll
    for (var u = 0u; u < UNROLL; u++) { x[u] = logits[at + i + u * LANES]; }
    var top = x[0];
    // @unroll
    for (var u = 1u; u < UNROLL; u++) { top = max(top, x[u]); }
    let higher = max(m, max4(top));
    var part = vec4f(0);
    // @unroll
    for (var u = 0u; u < UNROLL; u++) { part += exp(x[u] - higher); }
    s = s * exp(m - higher) + sum4(part);
    m = higher;
  }
  for (; i < live4; i += LANES) {
    let rest = live(logits[at + i], i, LOWEST);
    let higher = max(m, max4(rest));
    s = s * exp(m - higher) + sum4(live(exp(rest - higher), i, 0.0));
    m = higher;
  }
  let top = subgroupMax(m);
  let total = subgroupAdd(s * exp(m - top));
  // Added over the lanes, so that no lane can overwrite the target's logit before it is read.
  let goal = subgroupAdd(select(0.0, logits[at + y / 4u][y % 4u], lid.x == 0u));
  if (lid.x == 0u) { losses[params.start + r] = weight * (log(total) + (top - goal)); }
  if (GRADIENT == 0u) { return; }

  let k = state.scale * weight;
  let f = k / total;
  for (i = lid.x; i < full4; i += LANES) { logits[at + i] = f * exp(logits[at + i] - top); }
  for (; i < ld4; i += LANES) { logits[at + i] = live(f * exp(logits[at + i] - top), i, 0.0); }
  // The lane that wrote the target's column writes it again.
  if (lid.x == (y / 4u) % LANES) {
    logits[at + y / 4u][y % 4u] = k * (exp(goal - top) / total - 1.0);
  }
}

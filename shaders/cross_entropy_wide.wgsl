// cross_entropy_wide: cross_entropy for a GPU, where one subgroup a row leaves most of it idle.
//   nll = log(sum of exp(logits[r, :V])) - logits[r, target]
//   losses[start + r] = mask * nll
//   logits[r, :V] = scale * mask * (softmax(logits[r, :V]) - onehot(target)),  logits[r, V:] = 0
// One workgroup of WG_SIZE a row; dispatch grid(rows). With HELD 1 a thread keeps its UNROLL
// vectors of the row in registers, UNROLL WG_SIZE >= ld / 4, and the row is read once; else two
// passes: an online maximum and sum, then the gradient. The order of the sums is fixed by ld, LANES
// and WG_SIZE. WG_SIZE is up to 1,024 invocations, where the device was opened with so many (256
// are granted everywhere): a row of 50,257 logits then fits registers, and an H200 moved the most
// bytes with 512 and 1,024.
// Where mask is 0 nothing is read: loss and gradient are 0, whatever the logits are. An unmasked
// target outside [0, V) is never followed: its loss is 3.4e38 and its gradient 0.
// Needs ld % 4 == 0 and subgroups of exactly LANES threads; WG_SIZE is a multiple of LANES.
// Reads targets, mask (N). Writes losses (N) =, logits (rows, ld) = (only where GRADIENT is 1).
const LANES: u32 = 8u;
const WG_SIZE: u32 = 64u;
const GRADIENT: u32 = 1u; // 0: the loss alone, for evaluation
const HELD: u32 = 0u;
const UNROLL: u32 = 8u; // vectors of a thread that are loaded together
const GROUPS: u32 = WG_SIZE / LANES;

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
var<workgroup> shares: array<vec2f, GROUPS>; // maximum and sum of each subgroup
var<workgroup> target_logit: f32;

// @include "columns.wgsl"

@compute @workgroup_size(WG_SIZE)
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
      for (var i = lid.x; i < ld4; i += WG_SIZE) { logits[at + i] = vec4f(0); }
    }
    return;
  }
  // Through workgroup memory, so that no thread can overwrite it before it is read.
  if (lid.x == 0u) { target_logit = logits[at + y / 4u][y % 4u]; }

  var m = LOWEST; // maximum of this thread's columns so far
  var s = 0.0; // sum of exp(x - m) over them
  var x: array<vec4f, UNROLL>;
  if (HELD == 1u) {
    // @unroll
    for (var u = 0u; u < UNROLL; u++) {
      let i = lid.x + u * WG_SIZE;
      x[u] = live(logits[at + min(i, ld4 - 1u)], i, LOWEST);
    }
    var top = x[0];
    // @unroll
    for (var u = 1u; u < UNROLL; u++) { top = max(top, x[u]); }
    m = max(m, max4(top));
    var part = vec4f(0);
    // @unroll
    for (var u = 0u; u < UNROLL; u++) {
      x[u] = live(exp(x[u] - m), lid.x + u * WG_SIZE, 0.0);
      part += x[u];
    }
    s = sum4(part);
  } else {
    var i = lid.x;
    for (; i + (UNROLL - 1u) * WG_SIZE < full4; i += UNROLL * WG_SIZE) {
      // @unroll
      for (var u = 0u; u < UNROLL; u++) { x[u] = logits[at + i + u * WG_SIZE]; }
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
    for (; i < live4; i += WG_SIZE) {
      let rest = live(logits[at + i], i, LOWEST);
      let higher = max(m, max4(rest));
      s = s * exp(m - higher) + sum4(live(exp(rest - higher), i, 0.0));
      m = higher;
    }
  }

  // Each subgroup's share, then those of all, which every subgroup adds up in the same order.
  let own = subgroupMax(m);
  let own_sum = subgroupAdd(s * exp(m - own));
  let lane = lid.x % LANES;
  if (lane == 0u) { shares[lid.x / LANES] = vec2f(own, own_sum); }
  workgroupBarrier();
  var high = LOWEST;
  for (var g = lane; g < GROUPS; g += LANES) { high = max(high, shares[g].x); }
  let top = subgroupMax(high);
  var sum = 0.0;
  for (var g = lane; g < GROUPS; g += LANES) { sum += shares[g].y * exp(shares[g].x - top); }
  let total = subgroupAdd(sum);
  let goal = target_logit;
  if (lid.x == 0u) { losses[params.start + r] = weight * (log(total) + (top - goal)); }
  if (GRADIENT == 0u) { return; }

  let k = state.scale * weight;
  let f = k / total;
  if (HELD == 1u) {
    let g = f * exp(m - top);
    // @unroll
    for (var u = 0u; u < UNROLL; u++) {
      let i = lid.x + u * WG_SIZE;
      if (i < ld4) { logits[at + i] = g * x[u]; }
    }
  } else {
    var i = lid.x;
    for (; i + (UNROLL - 1u) * WG_SIZE < full4; i += UNROLL * WG_SIZE) {
      // @unroll
      for (var u = 0u; u < UNROLL; u++) { x[u] = logits[at + i + u * WG_SIZE]; }
      // @unroll
      for (var u = 0u; u < UNROLL; u++) { logits[at + i + u * WG_SIZE] = f * exp(x[u] - top); }
    }
    for (; i < ld4; i += WG_SIZE) { logits[at + i] = live(f * exp(logits[at + i] - top), i, 0.0); }
  }
  // The thread that wrote the target's column writes it again.
  if (lid.x == (y / 4u) % WG_SIZE) {
    logits[at + y / 4u][y % 4u] = k * (exp(goal - top) / total - 1.0);
  }
}

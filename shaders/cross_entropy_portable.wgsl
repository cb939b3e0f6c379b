// cross_entropy_portable: cross_entropy.wgsl without subgroups, for any V and ld.
//   nll = log(sum of exp(logits[r, :V])) - logits[r, target]
//   losses[start + r] = mask * nll
//   logits[r, :V] = scale * mask * (softmax(logits[r, :V]) - onehot(target)),  logits[r, V:] = 0
// One workgroup of WG_SIZE (a power of two) a row; dispatch grid(rows). The maxima and sums of the
// threads meet in a tree in workgroup memory.
// Reads targets, mask (N). Writes losses (N) =, logits (rows, ld) = (only where GRADIENT is 1).
const GRADIENT: u32 = 1u; // 0: the loss alone, for evaluation
override WG_SIZE: u32 = 128;

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
@group(0) @binding(4) var<storage, read_write> logits: array<f32>; // (rows, ld)
@group(0) @binding(5) var<storage, read_write> losses: array<f32>; // (N)

const LOWEST = -3.4028235e38;
var<workgroup> tops: array<f32, WG_SIZE>;
var<workgroup> sums: array<f32, WG_SIZE>;

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let r = wg.y * nw.x + wg.x;
  if (r >= params.rows) { return; }
  let at = r * params.ld; // seek to logits[r, :]
  let weight = mask[params.start + r];
  let y = targets[params.start + r];
  if (weight == 0.0 || y >= params.V) {
    if (lid.x == 0u) { losses[params.start + r] = select(-LOWEST, 0.0, weight == 0.0); }
    if (GRADIENT == 1u) {
      for (var c = lid.x; c < params.ld; c += WG_SIZE) { logits[at + c] = 0.0; }
    }
    return;
  }

  let goal = logits[at + y]; // read by all before the barriers, written after them
  var m = LOWEST;
  var s = 0.0;
  var c = lid.x;
  for (; c + 3u * WG_SIZE < params.V; c += 4u * WG_SIZE) {
    let i = at + c;
    let x = vec4f(
      logits[i],
      logits[i + WG_SIZE],
      logits[i + 2u * WG_SIZE],
      logits[i + 3u * WG_SIZE],
    );
    let higher = max(max(m, max(x.x, x.y)), max(x.z, x.w));
    let e = exp(x - higher);
    s = s * exp(m - higher) + ((e.x + e.y) + (e.z + e.w));
    m = higher;
  }
  for (; c < params.V; c += WG_SIZE) {
    let x = logits[at + c];
    let higher = max(m, x);
    s = s * exp(m - higher) + exp(x - higher);
    m = higher;
  }
  tops[lid.x] = m;
  sums[lid.x] = s;
  workgroupBarrier();
  for (var half = WG_SIZE / 2u; half > 0u; half /= 2u) {
    if (lid.x < half) {
      let a = tops[lid.x];
      let b = tops[lid.x + half];
      let higher = max(a, b);
      sums[lid.x] = sums[lid.x] * exp(a - higher) + sums[lid.x + half] * exp(b - higher);
      tops[lid.x] = higher;
    }
    workgroupBarrier();
  }
  let top = tops[0];
  let total = sums[0];
  if (lid.x == 0u) { losses[params.start + r] = weight * (log(total) + (top - goal)); }
  if (GRADIENT == 0u) { return; }

  let k = state.scale * weight;
  let f = k / total;
  for (c = lid.x; c < params.V; c += WG_SIZE) { logits[at + c] = f * exp(logits[at + c] - top); }
  for (; c < params.ld; c += WG_SIZE) { logits[at + c] = 0.0; }
  // The thread that wrote the target's column writes it again.
  if (lid.x == y % WG_SIZE) { logits[at + y] = k * (exp(goal - top) / total - 1.0); }
}

// adamw: one AdamW step with decoupled decay, the gradient clipped by its global norm.
//   g = min(1, maxNorm / (sqrt(norm2) + 1e-6)) * grad
//   m = m + (1 - beta1) * (g - m);  v = beta2 * v + (1 - beta2) * g * g
//   value = value - lr * decay * value                       (elements before `decayed` only)
//   value = value - lr / c1 * m / (sqrt(v) / sqrt(c2) + eps),  c1 = 1 - beta1^t, c2 = 1 - beta2^t
// A thread takes PER_THREAD vectors, WG_SIZE apart: a workgroup 4 WG_SIZE PER_THREAD elements;
// dispatch grid(count by that, rounded up).
// When norm2 is infinite or NaN nothing is updated, and the first dispatch of a step counts it.
// Reads grad (count), norm2 (1). Writes value, m, v (count) = from their old values and
// skipped (1) +=.
// count and decayed are multiples of 4.
const PER_THREAD: u32 = 16u;
override WG_SIZE: u32 = 64;

struct Params {
  count: u32,
  decayed: u32,
  first: u32, // 1: this dispatch counts a skipped step
  pad0: u32,
}
struct StepState {
  beta2: f32,
  oneMinusBeta1: f32,
  oneMinusBeta2: f32,
  eps: f32,
  shrink: f32, // lr * decay
  stepSize: f32, // lr / c1
  rsqrtC2: f32, // 1 / sqrt(c2)
  maxNorm: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: StepState;
@group(0) @binding(2) var<storage, read> grad: array<vec4f>; // (count)
@group(0) @binding(3) var<storage, read> norm2: array<f32>; // (1)
@group(0) @binding(4) var<storage, read_write> value: array<vec4f>; // (count)
@group(0) @binding(5) var<storage, read_write> m: array<vec4f>; // (count)
@group(0) @binding(6) var<storage, read_write> v: array<vec4f>; // (count)
@group(0) @binding(7) var<storage, read_write> skipped: array<u32>; // (1)

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let group = wg.y * nw.x + wg.x;
  // Infinite or NaN: told by the bits, as a comparison of floats may be assumed away.
  if ((bitcast<u32>(norm2[0]) & 0x7f800000u) == 0x7f800000u) {
    if (params.first == 1u && group == 0u && lid.x == 0u) { skipped[0] += 1u; }
    return;
  }
  let clip = min(1.0, step.maxNorm / (sqrt(norm2[0]) + 1e-6));
  let start = group * (WG_SIZE * PER_THREAD) + lid.x;
  for (var j = 0u; j < PER_THREAD; j++) {
    let i = start + j * WG_SIZE;
    if (4u * i >= params.count) { return; }
    let g = clip * grad[i];
    let mean = m[i] + step.oneMinusBeta1 * (g - m[i]);
    let square = step.beta2 * v[i] + step.oneMinusBeta2 * g * g;
    m[i] = mean;
    v[i] = square;
    let old = value[i];
    let kept = old - select(0.0, step.shrink, 4u * i < params.decayed) * old;
    value[i] = kept - step.stepSize * mean / (sqrt(square) * step.rsqrtC2 + step.eps);
  }
}

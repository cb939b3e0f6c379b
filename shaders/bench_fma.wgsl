// bench_fma: chains of multiply-adds in registers, the ceiling of kernels bound by arithmetic.
//   sum = sum * a + b, repeated STEPS * count times on CHAINS vectors a thread
// So a thread does 8 CHAINS STEPS count floating-point operations; dispatch (groups).
// Reads inp (2): a, b. Writes out (groups WG_SIZE) =, so that the work cannot be dropped.
const CHAINS: u32 = 3u;
const STEPS: u32 = 16u;
override WG_SIZE: u32 = 64;

struct Params {
  count: u32,
  pad0: u32,
  pad1: u32,
  pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<f32>; // (2)
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // (groups WG_SIZE)

@compute @workgroup_size(WG_SIZE)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let a = vec4f(inp[0]);
  let b = vec4f(inp[1]);
  var sum: array<vec4f, CHAINS>;
  // @unroll
  for (var c = 0u; c < CHAINS; c++) { sum[c] = vec4f(f32(id.x), 1.0, 2.0, f32(c)); }
  for (var i = 0u; i < params.count; i++) {
    // @unroll
    for (var s = 0u; s < STEPS; s++) {
      // @unroll
      for (var c = 0u; c < CHAINS; c++) { sum[c] = fma(sum[c], a, b); }
    }
  }
  var total = vec4f(0);
  // @unroll
  for (var c = 0u; c < CHAINS; c++) { total += sum[c]; }
  out[id.x] = (total.x + total.y) + (total.z + total.w);
}

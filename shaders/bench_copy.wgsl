// bench_copy: out = inp, the ceiling of kernels that memory holds back.
// A thread copies PER_THREAD vectors, WG_SIZE apart: a workgroup 4 WG_SIZE PER_THREAD elements;
// dispatch grid(count by that, rounded up).
// Reads inp (count). Writes out (count) =. count is a multiple of 4.
const PER_THREAD: u32 = 16u;
override WG_SIZE: u32 = 64;

struct Params {
  count: u32,
  pad0: u32,
  pad1: u32,
  pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<vec4f>; // (count)
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>; // (count)

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let start = (wg.y * nw.x + wg.x) * (WG_SIZE * PER_THREAD) + lid.x;
  for (var j = 0u; j < PER_THREAD; j++) {
    let i = start + j * WG_SIZE;
    if (4u * i >= params.count) { return; }
    out[i] = inp[i];
  }
}

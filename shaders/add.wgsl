// add: the sum of two tensors, and the copies and sums that its gradient needs.
//   MODE 0: out = a + b    MODE 1: out = a    MODE 2: out += a
// A thread takes per_thread vectors, WG_SIZE apart; dispatch grid(ceil(vectors / (64 per_thread))).
// Reads a (count), b (count; in MODE 0). Writes out (count) = or +=, up to the next multiple of 4.
const MODE: u32 = 0u;
const WG_SIZE: u32 = 64u;

struct Params {
  vectors: u32, // ceil(count / 4)
  per_thread: u32,
  pad0: u32,
  pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>; // (count)
@group(0) @binding(2) var<storage, read> b: array<vec4f>; // (count)
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>; // (count)

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let start = (wg.y * nw.x + wg.x) * (WG_SIZE * params.per_thread) + lid.x;
  for (var j = 0u; j < params.per_thread; j++) {
    let i = start + j * WG_SIZE;
    if (i >= params.vectors) { return; }
    if (MODE == 0u) {
      out[i] = a[i] + b[i];
    } else if (MODE == 1u) {
      out[i] = a[i];
    } else {
      out[i] += a[i];
    }
  }
}

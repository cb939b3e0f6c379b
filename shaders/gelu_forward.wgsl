// gelu_forward: out = gelu(inp), element-wise.
//   KIND 0: the tanh form of GPT-1 and GPT-2    KIND 1: the exact form, with erf
// A thread takes per_thread vectors, WG_SIZE apart; dispatch grid(ceil(vectors / (64 per_thread))).
// Reads inp (count). Writes out (count) =, up to the next multiple of 4.
const KIND: u32 = 0u;
const WG_SIZE: u32 = 64u;

struct Params {
  vectors: u32, // ceil(count / 4)
  per_thread: u32,
  pad0: u32,
  pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<vec4f>; // (count)
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>; // (count)

// @include "gelu.wgsl"

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
    if (KIND == 0u) {
      out[i] = gelu_tanh(inp[i]);
    } else {
      out[i] = gelu_erf(inp[i]);
    }
  }
}

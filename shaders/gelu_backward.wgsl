// gelu_backward: the gradient through gelu, element-wise.
//   MODE 0: dinp = dout gelu'(inp)    MODE 1: dinp += dout gelu'(inp)    MODE 2: dinp *= gelu'(inp)
//   KIND 0: the tanh form of GPT-1 and GPT-2    KIND 1: the exact form, with erf
// MODE 2 is for a dout that nothing else reads: it becomes dinp where it is.
// A thread takes per_thread vectors, WG_SIZE apart; dispatch grid(ceil(vectors / (64 per_thread))).
// Reads inp (count), dout (count; not in MODE 2). Writes dinp (count) =, += or *=, up to the next
// multiple of 4.
const KIND: u32 = 0u;
const MODE: u32 = 0u;
const WG_SIZE: u32 = 64u;

struct Params {
  vectors: u32, // ceil(count / 4)
  per_thread: u32,
  pad0: u32,
  pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<vec4f>; // (count)
@group(0) @binding(2) var<storage, read> dout: array<vec4f>; // (count)
@group(0) @binding(3) var<storage, read_write> dinp: array<vec4f>; // (count)

// @include "gelu.wgsl"

fn derivative(x: vec4f) -> vec4f {
  if (KIND == 0u) { return gelu_tanh_derivative(x); }
  return gelu_erf_derivative(x);
}

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
    let d = derivative(inp[i]);
    if (MODE == 0u) {
      dinp[i] = dout[i] * d;
    } else if (MODE == 1u) {
      dinp[i] = fma(dout[i], d, dinp[i]);
    } else {
      dinp[i] *= d;
    }
  }
}

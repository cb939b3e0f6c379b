// dropout: scales the kept values, zeroes the others; the mask is drawn anew wherever it is needed.
//   mask[i] = u >= rate ? scale : 0,  u = uniform of word i % 4 of
//             philox(counter (i / 4 % period, site, step, micro), key (seed_lo, seed_hi))
//   scale = 1 / (1 - rate)
//   MODE 0: out = inp mask    MODE 1: out += inp mask    MODE 2: out = residual + inp mask
// The backward is the same kernel with inp = dout and out = dinp.
// A thread takes per_thread vectors, WG_SIZE apart; dispatch grid(ceil(vectors / (64 per_thread))).
// Reads inp (count), residual (count; in MODE 2). Writes out (count) = or +=, up to the next
// multiple of 4.
const MODE: u32 = 0u;
const WG_SIZE: u32 = 64u;

struct Params {
  vectors: u32, // ceil(count / 4)
  per_thread: u32,
  site: u32,
  rate: f32,
  scale: f32,
  period: u32, // vectors after which the mask begins again
  pad1: u32,
  pad2: u32,
}

struct DropoutState { seed_lo: u32, seed_hi: u32, step: u32, micro: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> state: DropoutState;
@group(0) @binding(2) var<storage, read> inp: array<vec4f>; // (count)
@group(0) @binding(3) var<storage, read> residual: array<vec4f>; // (count)
@group(0) @binding(4) var<storage, read_write> out: array<vec4f>; // (count)

// @include "philox.wgsl"

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
    let words = philox4x32(
      vec4u(i % params.period, params.site, state.step, state.micro),
      vec2u(state.seed_lo, state.seed_hi),
    );
    let kept = philox_uniform(words) >= vec4f(params.rate);
    let y = select(vec4f(0), inp[i] * params.scale, kept);
    if (MODE == 0u) {
      out[i] = y;
    } else if (MODE == 1u) {
      out[i] += y;
    } else {
      out[i] = residual[i] + y;
    }
  }
}

// blend: one vector out of two, in place.
//   out[i] = keep * out[i] + take * inp[i];  where keep is 0, out is not read
// Four elements a thread; dispatch grid(ceil(count / (4 WG_SIZE))). count % 4 == 0, as arenas are.
// Reads inp (count). Writes out (count).
const WG_SIZE: u32 = 64u;

struct Params {
  count: u32,
  pad0: u32,
  keep: f32,
  take: f32,
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
  let i = (wg.y * nw.x + wg.x) * WG_SIZE + lid.x;
  if (4u * i >= params.count) { return; }
  if (params.keep == 0.0) {
    out[i] = params.take * inp[i];
    return;
  }
  out[i] = params.keep * out[i] + params.take * inp[i];
}

// layernorm_dweight: adds up the chunks of layernorm_backward, first to last.
//   dweight += sum over chunks of partial[chunk, 0, :]
//   dbias   += sum over chunks of partial[chunk, 1, :]
// A thread a channel; dispatch (ceil(C / WG_SIZE), 2), y = 0 for dweight and 1 for dbias.
// Reads partial (chunks, 2, C). Writes dweight (C) += (where flags & 1), dbias (C) += (flags & 2).
override WG_SIZE: u32 = 32;

struct Params {
  C: u32,
  chunks: u32,
  flags: u32, // 1: dweight is wanted; 2: dbias is wanted
  pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>; // (chunks, 2, C)
@group(0) @binding(2) var<storage, read_write> dweight: array<f32>; // (C)
@group(0) @binding(3) var<storage, read_write> dbias: array<f32>; // (C)

@compute @workgroup_size(WG_SIZE)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let c = wg.x * WG_SIZE + lid.x;
  if (c >= params.C || (params.flags & (1u << wg.y)) == 0u) { return; }
  var s = 0.0;
  for (var k = 0u; k < params.chunks; k++) { s += partial[(2u * k + wg.y) * params.C + c]; }
  if (wg.y == 0u) {
    dweight[c] += s;
  } else {
    dbias[c] += s;
  }
}

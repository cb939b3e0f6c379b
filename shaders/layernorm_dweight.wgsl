// layernorm_dweight: adds up the chunks of layernorm_backward.
//   dweight += sum over chunks of partial[chunk, 0, :]
//   dbias   += sum over chunks of partial[chunk, 1, :]
// SHARES threads a channel: share p adds chunks p, p + SHARES, …, and the shares are added first to
// last. Dispatch (ceil(C / CHANNELS), 2), y = 0 for dweight and 1 for dbias.
// Reads partial (chunks, 2, C). Writes dweight (C) += (where flags & 1), dbias (C) += (flags & 2).
const CHANNELS: u32 = 32u; // neighbours in memory that a workgroup takes
const SHARES: u32 = 1u;

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

var<workgroup> sums: array<f32, CHANNELS * SHARES>; // (SHARES, CHANNELS)

@compute @workgroup_size(CHANNELS * SHARES)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  if ((params.flags & (1u << wg.y)) == 0u) { return; }
  let c = wg.x * CHANNELS + lid.x % CHANNELS;
  let share = lid.x / CHANNELS;
  var s = 0.0;
  if (c < params.C) {
    for (var k = share; k < params.chunks; k += SHARES) {
      s += partial[(2u * k + wg.y) * params.C + c];
    }
  }
  sums[lid.x] = s;
  workgroupBarrier();
  if (share != 0u || c >= params.C) { return; }
  for (var p = 1u; p < SHARES; p++) { s += sums[p * CHANNELS + lid.x]; }
  if (wg.y == 0u) {
    dweight[c] += s;
  } else {
    dbias[c] += s;
  }
}

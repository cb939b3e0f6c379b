// sum_portable: sum.wgsl without subgroups.
//   out[start + b] (=|+=) scale * sum over block b of inp[i]   (or of inp[i]^2)
// One workgroup of WG_SIZE (a power of two) a block, its threads' sums meet in a tree in workgroup
// memory; dispatch grid(ceil(count / block)). A second dispatch over the partial sums ends the sum.
// Reads inp (count), factor (1). Writes out (blocks) = or += from start on.
override WG_SIZE: u32 = 64;

struct Params {
  count: u32,
  block: u32,
  start: u32,
  flags: u32, // 1: sum squares; 2: multiply by factor too; 4: add to out
  scale: f32,
  pad0: u32,
  pad1: u32,
  pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<f32>; // (count)
@group(0) @binding(2) var<storage, read> factor: array<u32>; // (1), the bits of an f32
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // (start + blocks)

var<workgroup> partial: array<f32, WG_SIZE>;

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let b = wg.y * nw.x + wg.x;
  if (b > (params.count - 1u) / params.block) { return; }
  let first = b * params.block;
  let end = first + min(params.block, params.count - first);
  let squares = (params.flags & 1u) != 0u;
  var four = vec4f(0);
  var i = first + lid.x;
  for (; i + 3u * WG_SIZE < end; i += 4u * WG_SIZE) {
    let x = vec4f(inp[i], inp[i + WG_SIZE], inp[i + 2u * WG_SIZE], inp[i + 3u * WG_SIZE]);
    four += x * select(vec4f(1), x, squares);
  }
  var s = (four.x + four.y) + (four.z + four.w);
  for (; i < end; i += WG_SIZE) {
    let x = inp[i];
    s += x * select(1.0, x, squares);
  }
  partial[lid.x] = s;
  workgroupBarrier();
  for (var half = WG_SIZE / 2u; half > 0u; half /= 2u) {
    if (lid.x < half) { partial[lid.x] += partial[lid.x + half]; }
    workgroupBarrier();
  }
  var total = params.scale * partial[0];
  if ((params.flags & 2u) != 0u) { total *= bitcast<f32>(factor[0]); }
  if (lid.x != 0u) { return; }
  if ((params.flags & 4u) != 0u) { total += out[params.start + b]; }
  out[params.start + b] = total;
}

// sum: sums of the blocks of a vector by a fixed tree, of its elements or of their squares.
//   out[start + b] (=|+=) scale * sum over block b of inp[i]   (or of inp[i]^2)
// One subgroup of LANES a block, 4 UNROLL chains a lane; dispatch grid(ceil(count / block)). Where
// an element joins the tree depends on its index, LANES and block only. A second dispatch over the
// partial sums, as one block, ends the sum.
// Reads inp (count), factor (1). Writes out (blocks) = or += from start on.
// block is a multiple of 4.
const LANES: u32 = 8u;
const UNROLL: u32 = 4u; // independent loads of a lane

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
@group(0) @binding(1) var<storage, read> inp: array<vec4f>; // (count)
@group(0) @binding(2) var<storage, read> factor: array<u32>; // (1), the bits of an f32
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // (start + blocks)

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let b = wg.y * nw.x + wg.x;
  // Written so that no b times block can pass 2^32.
  if (b > (params.count - 1u) / params.block) { return; }
  let first = b * params.block;
  let end = first + min(params.block, params.count - first);
  let squares = (params.flags & 1u) != 0u;
  var s: array<vec4f, UNROLL>;
  var i = first / 4u + lid.x;
  for (; i + (UNROLL - 1u) * LANES < end / 4u; i += UNROLL * LANES) {
    // @unroll
    for (var u = 0u; u < UNROLL; u++) {
      let x = inp[i + u * LANES];
      s[u] += x * select(vec4f(1), x, squares);
    }
  }
  for (; i < (end + 3u) / 4u; i += LANES) {
    let x = select(vec4f(0), inp[i], vec4u(4u * i) + vec4u(0, 1, 2, 3) < vec4u(end));
    s[0] += x * select(vec4f(1), x, squares);
  }
  var lane = s[0];
  // @unroll
  for (var u = 1u; u < UNROLL; u++) { lane += s[u]; }
  var total = params.scale * subgroupAdd((lane.x + lane.y) + (lane.z + lane.w));
  if ((params.flags & 2u) != 0u) { total *= bitcast<f32>(factor[0]); }
  if (lid.x != 0u) { return; }
  if ((params.flags & 4u) != 0u) { total += out[params.start + b]; }
  out[params.start + b] = total;
}

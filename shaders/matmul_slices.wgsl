// matmul_slices: adds up the slices of a product whose terms were shared among workgroups.
//   out (M, N) (=|+=) Σ_s part[s, :M, :], in the order s = 0, 1, … S - 1
//   column_sum (N) += Σ_s part[s, M, :]                       where COLUMN_SUM is 1
// One thread a vec4; dispatch grid(ceil((M + COLUMN_SUM) N / 4 / WG_SIZE)).
// Reads part (S, M + COLUMN_SUM, N). Writes out = or +=, column_sum +=.
override WG_SIZE: u32 = 256u;
const ADD: u32 = 0u;
const COLUMN_SUM: u32 = 0u;

struct Params {
  M: u32,
  N: u32,
  S: u32,
  ldout: u32, // elements from a row of out to the next
  out_column: u32, // first column of out
  pad0: u32,
  pad1: u32,
  pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> part: array<vec4f>; // (S, M + COLUMN_SUM, N)
@group(0) @binding(2) var<storage, read_write> column_sum: array<vec4f>; // (N)
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>; // (M, ldout)

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let N4 = params.N / 4u;
  let count = (params.M + COLUMN_SUM) * N4;
  let i = (wg.y * nw.x + wg.x) * WG_SIZE + lid.x;
  if (i >= count) { return; }
  var sum = part[i];
  for (var s = 1u; s < params.S; s++) { sum += part[s * count + i]; }
  let m = i / N4;
  if (m == params.M) {
    column_sum[i % N4] += sum;
    return;
  }
  let at = m * (params.ldout / 4u) + params.out_column / 4u + i % N4;
  if (ADD == 1u) { out[at] += sum; } else { out[at] = sum; }
}

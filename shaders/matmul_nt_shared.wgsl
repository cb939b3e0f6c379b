// matmul_nt_shared: matmul_nt for a few rows on GPUs, where reading b is the whole cost.
//   out (M, N) (=|+=) a (M, K) · b (N, K)ᵀ; += where ADD is 1.
// Reduction "shared": slice s of 32 sums, with fma, k = 128 i + 4 s … + 3 for i = 0, 1, …, and a tree
// adds the slices up, so that bits differ from those of "sequential".
// 32 neighbouring threads take a row of b for ROWS rows of a; a workgroup has 8 of them. Dispatch
// (ceil(N / 8), ceil(M / ROWS)).
// Needs K, lda and a_column to be multiples of 4; M, N and out's layout are any.
// Reads a, b (kept as f32 or f16). Writes out = or +=.
const ROWS: u32 = 1u;
const ADD: u32 = 0u;

struct Params {
  M: u32,
  N: u32,
  K: u32,
  lda: u32, // elements from a row of a to the next
  ldout: u32,
  a_column: u32, // first column of a
  out_column: u32, // first column of out
  b_row: u32, // first row of b
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>; // (M, lda)
@group(0) @binding(2) var<storage, read> b: array<stored4>; // (N, K)
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // (M, ldout)

var<workgroup> part: array<f32, ROWS * 256u>;

// @include "storage.wgsl"

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let thread = lid.x;
  let slice = thread % 32u;
  let K4 = params.K / 4u;
  let row = wg.y * ROWS;
  let n = wg.x * 8u + thread / 32u;
  let start = (params.b_row + min(n, params.N - 1u)) * K4;
  var sum: array<f32, ROWS>;
  for (var k = slice; k < K4; k += 32u) {
    let p = numbers(b[start + k]);
    // @unroll
    for (var i = 0u; i < ROWS; i++) {
      // Beyond the last row the last one again, whose sums are not stored.
      let q = a[min(row + i, params.M - 1u) * (params.lda / 4u) + params.a_column / 4u + k];
      // @unroll
      for (var t = 0u; t < 4u; t++) { sum[i] = fma(q[t], p[t], sum[i]); }
    }
  }
  // @unroll
  for (var i = 0u; i < ROWS; i++) { part[i * 256u + thread] = sum[i]; }
  for (var half = 16u; half >= 1u; half /= 2u) {
    workgroupBarrier();
    if (slice < half) {
      // @unroll
      for (var i = 0u; i < ROWS; i++) {
        part[i * 256u + thread] += part[i * 256u + half + thread];
      }
    }
  }
  workgroupBarrier();
  if (slice >= ROWS || row + slice >= params.M || n >= params.N) { return; }
  let at = (row + slice) * params.ldout + params.out_column + n;
  let y = part[slice * 256u + thread - slice];
  if (ADD == 1u) { out[at] += y; } else { out[at] = y; }
}

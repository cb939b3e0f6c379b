// matmul_nt_rows: matmul_nt for a few rows, where reading b is the whole cost.
//   out (M, N) (=|+=) a (M, K) · b (N, K)ᵀ; += where ADD is 1.
// Reduction "sequential": one accumulator an element, from 0, fma over k = 0, 1, … K - 1.
// A thread has TC rows of b, WG_SIZE apart, for ROWS rows of a; dispatch
// (ceil(N / (WG_SIZE TC)), ceil(M / ROWS)).
// Needs K, lda and a_column to be multiples of 4; M, N and out's layout are any.
// Reads a, b (kept as f32 or f16). Writes out = or +=.
const WG_SIZE: u32 = 32u;
const ROWS: u32 = 1u;
const TC: u32 = 4u;
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

// @include "storage.wgsl"

@compute @workgroup_size(WG_SIZE)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let K4 = params.K / 4u;
  let lda4 = params.lda / 4u;
  let row = wg.y * ROWS;
  let col = wg.x * (WG_SIZE * TC) + lid.x;
  var sum: array<f32, ROWS * TC>;
  var q: array<vec4f, ROWS>;
  for (var k = 0u; k < K4; k++) {
    // @unroll
    for (var i = 0u; i < ROWS; i++) {
      // Seek to a[row, k]; beyond the last row the last one again, whose sums are not stored.
      q[i] = a[min(row + i, params.M - 1u) * lda4 + params.a_column / 4u + k];
    }
    // @unroll
    for (var j = 0u; j < TC; j++) {
      let at = (params.b_row + min(col + j * WG_SIZE, params.N - 1u)) * K4 + k;
      let p = numbers(b[at]);
      // @unroll
      for (var i = 0u; i < ROWS; i++) {
        // @unroll
        for (var t = 0u; t < 4u; t++) { sum[i * TC + j] = fma(q[i][t], p[t], sum[i * TC + j]); }
      }
    }
  }
  // @unroll
  for (var j = 0u; j < TC; j++) {
    let c = col + j * WG_SIZE;
    // @unroll
    for (var i = 0u; i < ROWS; i++) {
      if (row + i < params.M && c < params.N) {
        let at = (row + i) * params.ldout + params.out_column + c;
        if (ADD == 1u) { out[at] += sum[i * TC + j]; } else { out[at] = sum[i * TC + j]; }
      }
    }
  }
}

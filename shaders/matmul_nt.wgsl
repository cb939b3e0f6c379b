// matmul_nt: out (M, N) (=|+=) a (M, K) · b (N, K)ᵀ; += where ADD is 1.
// Reduction "sequential": one accumulator an element, from 0, fma over k = 0, 1, … K - 1.
// One subgroup of LANES a tile of TM rows and LANES TV vec4 columns; dispatch
// (ceil(N / (4 LANES TV)), ceil(M / TM)). Both factors are loaded as vec4 along k: a lane loads
// every LANES-th row of a, which go to all lanes by a shuffle, and owns TV times 4 neighbours among
// the rows of b, so that out is stored as vec4.
// Needs N, K, lda, ldout and both columns to be multiples of 4; M is any.
// Reads a, b (in buffers, b kept as f32 or f16, or in textures). Writes out = or +=.
const LANES: u32 = 8u;
const TM: u32 = 32u; // a multiple of LANES
const TV: u32 = 2u;
const G: u32 = TM / LANES; // rows of a that a lane loads
const TS: u32 = 8u; // rows stored in one go, a divisor of TM
const ADD: u32 = 0u;

struct Params {
  M: u32,
  N: u32,
  K: u32,
  lda: u32, // elements from a row of a to the next
  ldout: u32,
  a_column: u32, // first column of a
  out_column: u32, // first column of out
  pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Bindings 1 and 2: a (M, lda), b (N, K).
@group(0) @binding(3) var<storage, read_write> out: array<vec4f>; // (M, ldout)

// @include "storage.wgsl"
// @include "factors.wgsl"

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let lane = lid.x;
  let N4 = params.N / 4u;
  let K4 = params.K / 4u;
  let lda4 = params.lda / 4u;
  let ldout4 = params.ldout / 4u;
  let a4 = params.a_column / 4u;
  let last_row = params.M - 1u;
  let row = wg.y * TM;
  let col = wg.x * (LANES * TV) + lane;
  var sum: array<vec4f, TM * TV>;
  var q: array<vec4f, G>;
  var p: array<vec4f, 4u * TV>;
  for (var k = 0u; k < K4; k++) {
    // @unroll
    for (var g = 0u; g < G; g++) {
      // Seek to a[row, k]; beyond the last row the last one again, whose sums are not stored.
      q[g] = left4(min(row + g * LANES + lane, last_row) * lda4 + a4 + k);
    }
    // @unroll
    for (var j = 0u; j < TV; j++) {
      let n = 4u * min(col + j * LANES, N4 - 1u);
      // @unroll
      for (var c = 0u; c < 4u; c++) { p[4u * j + c] = right4((n + c) * K4 + k); }
    }
    // @unroll
    for (var i = 0u; i < TM; i++) {
      let s = subgroupShuffle(q[i / LANES], i % LANES);
      // @unroll
      for (var t = 0u; t < 4u; t++) {
        // @unroll
        for (var j = 0u; j < TV; j++) {
          let column = vec4f(p[4u * j][t], p[4u * j + 1u][t], p[4u * j + 2u][t], p[4u * j + 3u][t]);
          sum[i * TV + j] = fma(vec4f(s[t]), column, sum[i * TV + j]);
        }
      }
    }
  }
  // TS rows in one go: all of them unrolled compile for twice as long and run no faster.
  for (var r = row; r < min(row + TM, params.M); r += TS) {
    // @unroll
    for (var j = 0u; j < TV; j++) {
      let c = col + j * LANES;
      // @unroll
      for (var i = 0u; i < TS; i++) {
        if (r + i < params.M && c < N4) {
          let at = (r + i) * ldout4 + params.out_column / 4u + c;
          if (ADD == 1u) { out[at] += sum[i * TV + j]; } else { out[at] = sum[i * TV + j]; }
        }
      }
    }
    // The next rows move up to where the loop takes them.
    // @unroll
    for (var i = 0u; i < (TM - TS) * TV; i++) { sum[i] = sum[i + TS * TV]; }
  }
}

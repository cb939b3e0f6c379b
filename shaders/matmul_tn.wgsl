// matmul_tn: out (M, N) (=|+=) a (K, M)ᵀ · b (K, N); += where ADD is 1.
// With COLUMN_SUM 1 also column_sum (N) += sum over k of b[k, :]: the bias gradient that goes with
// a weight gradient, without a pass of its own.
// Reduction "sequential": one accumulator an element, from 0, fma over k = 0, 1, … K - 1.
// One subgroup of LANES a tile of TM rows and LANES TV vec4 columns; dispatch
// (ceil(N / (4 LANES TV)), ceil(M / TM)). A lane loads 4 neighbouring columns of a row of a, which
// are 4 rows of out and go to all lanes by a shuffle, and owns TV vec4 columns of b.
// Needs N, lda, ldout and both columns to be multiples of 4; M and K are any: a's last vec4 may
// reach beyond M, where it is not used.
// Reads a, b (in buffers or in textures). Writes out = or +=, column_sum +=.
const LANES: u32 = 8u;
const TM: u32 = 32u; // a multiple of 4
const TV: u32 = 2u;
const TK: u32 = 4u; // rows of a and b an iteration
const G: u32 = (TM / 4u + LANES - 1u) / LANES; // vec4 of a row of a that a lane loads
const TS: u32 = 8u; // rows stored in one go, a divisor of TM
const ADD: u32 = 0u;
const COLUMN_SUM: u32 = 0u;

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
// Bindings 1 and 2: a (K, lda), b (K, N).
@group(0) @binding(3) var<storage, read_write> column_sum: array<vec4f>; // (N)
@group(0) @binding(4) var<storage, read_write> out: array<vec4f>; // (M, ldout)

// @include "storage.wgsl"
// @include "factors.wgsl"

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let lane = lid.x;
  let N4 = params.N / 4u;
  let lda4 = params.lda / 4u;
  let ldout4 = params.ldout / 4u;
  let K = params.K;
  let a4 = params.a_column / 4u;
  let last_k = K - 1u;
  let row = wg.y * TM;
  let col = wg.x * (LANES * TV) + lane;
  let last = (params.M - 1u) / 4u;
  var sum: array<vec4f, TM * TV>;
  var total: array<vec4f, TV>;
  var q: array<vec4f, G * TK>;
  var p: array<vec4f, TV * TK>;
  for (var k = 0u; k < K; k += TK) {
    // @unroll
    for (var t = 0u; t < TK; t++) {
      let n = min(k + t, last_k);
      // @unroll
      for (var g = 0u; g < G; g++) {
        // Seek to a[k + t, row]; beyond the last row of out the last one again, not stored.
        q[t * G + g] = left4(n * lda4 + a4 + min(row / 4u + g * LANES + lane, last));
      }
      // @unroll
      for (var j = 0u; j < TV; j++) {
        // Beyond the last k zeros, which change no sum.
        let x = right4(n * N4 + min(col + j * LANES, N4 - 1u));
        p[t * TV + j] = select(vec4f(0), x, k + t < K);
      }
    }
    // @unroll
    for (var i = 0u; i < TM / 4u; i++) {
      // @unroll
      for (var t = 0u; t < TK; t++) {
        let s = subgroupShuffle(q[t * G + i / LANES], i % LANES);
        // @unroll
        for (var c = 0u; c < 4u; c++) {
          // @unroll
          for (var j = 0u; j < TV; j++) {
            let at = (4u * i + c) * TV + j;
            sum[at] = fma(vec4f(s[c]), p[t * TV + j], sum[at]);
          }
        }
      }
    }
    if (COLUMN_SUM == 1u) {
      // @unroll
      for (var t = 0u; t < TK; t++) {
        // @unroll
        for (var j = 0u; j < TV; j++) { total[j] += p[t * TV + j]; }
      }
    }
  }
  if (COLUMN_SUM == 1u) {
    if (wg.y == 0u) {
      // @unroll
      for (var j = 0u; j < TV; j++) {
        let c = col + j * LANES;
        if (c < N4) { column_sum[c] += total[j]; }
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

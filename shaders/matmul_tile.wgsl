// matmul_tile: the three products for GPUs, through workgroup memory, with 4 RG x 4 CG sums a thread.
//   LAYOUT 0, nn: out (M, N) = a (M, K) · b (K, N) [+ bias]
//   LAYOUT 1, nt: out (M, N) = a (M, K) · b (N, K)ᵀ
//   LAYOUT 2, tn: out (M, N) = a (K, M)ᵀ · b (K, N)
// then as EPILOGUE says:
//   0: out =    1: out +=    2: out = . + residual    3: out = gelu(.), tanh form    4: erf form
// and with KEEP 1, beside (M, N) = the value before gelu; with COLUMN_SUM 1, beside (N) += sum over
// k of b[k, :].
// Reduction "sequential": one accumulator an element, from bias or 0, fma over k = 0, 1, … K - 1.
// With PARTIAL 1 workgroup z sums only k = z slice … (z + 1) slice - 1, and writes out
// (slices, M + COLUMN_SUM, N) =, the last row the column sum; matmul_slices adds the slices up.
// A workgroup of 256 threads takes a tile of 64 RG x 64 CG elements, 16 terms at a time through
// workgroup memory, the next 16 on their way from memory meanwhile. Dispatch (ceil(N / (64 CG)),
// ceil(M / (64 RG)), slices). Needs N, lda, ldout, both columns and, for nt, K to be multiples of 4;
// M and K are any.
// Both factors lie in workgroup memory in vec4s of rows (a) or columns (b), term by term. A factor
// whose neighbours in memory are terms (a of nn and nt, b of nt) is transposed in the registers of
// who loads it, 4 x 4 numbers a thread. A warp of 32 threads has 4 x 8 groups of 4 x 4 elements, so
// that it reads the fewest different vec4s.
// Reads a, b (kept as f32 or f16), bias (flag 1), residual. Writes out = or +=, beside = or +=.
const LAYOUT: u32 = 0u;
const RG: u32 = 2u; // groups of 4 rows a thread
const CG: u32 = 2u; // groups of 4 columns a thread
const EPILOGUE: u32 = 0u;
const KEEP: u32 = 0u;
const COLUMN_SUM: u32 = 0u;
const PARTIAL: u32 = 0u;
const BUFFERS: u32 = 2u; // 1: half the workgroup memory, and two barriers for 16 terms
const STEP: u32 = 16u; // terms in one go, a divisor of 16 and a multiple of 4
const A_TILE: u32 = 256u * RG;
const B_TILE: u32 = 256u * CG;

struct Params {
  M: u32,
  N: u32,
  K: u32,
  flags: u32, // 1: bias
  lda: u32, // elements from a row of a to the next
  ldout: u32,
  a_column: u32, // first column of a
  out_column: u32, // first column of out
  slice: u32, // terms a workgroup sums: K, or a multiple of 16
  pad0: u32,
  pad1: u32,
  pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>; // (M, lda); tn: (K, lda)
@group(0) @binding(2) var<storage, read> b: array<stored4>; // (K, N); nt: (N, K)
@group(0) @binding(3) var<storage, read> bias: array<vec4f>; // (N)
@group(0) @binding(4) var<storage, read> residual: array<vec4f>; // (M, N)
@group(0) @binding(5) var<storage, read_write> beside: array<vec4f>; // (M, N) or (N)
@group(0) @binding(6) var<storage, read_write> out: array<vec4f>; // (M, ldout)

var<workgroup> a_tile: array<vec4f, A_TILE * BUFFERS>;
var<workgroup> b_tile: array<vec4f, B_TILE * BUFFERS>;

// @include "storage.wgsl"
// @include "gelu.wgsl"

fn activation(x: vec4f) -> vec4f {
  if (EPILOGUE == 3u) { return gelu_tanh(x); }
  return gelu_erf(x);
}

// Where a tile of R4 vec4s a term keeps vec4 r of term k: permuted, so that a thread's four stores
// and its neighbours' go to different banks.
fn slot(k: u32, r: u32, R4: u32) -> u32 {
  return k * R4 + (r ^ ((k / 4u * 2u) & 7u));
}

// Part i of 4 of what a thread loads of the tile of a that starts at row and k; u counts the threads
// that load a. Beyond the last row or term the last one again.
fn a_at(u: u32, i: u32, row: u32, k: u32) -> vec4f {
  let lda4 = params.lda / 4u;
  let a4 = params.a_column / 4u;
  if (LAYOUT == 2u) {
    let e = u + i * 64u * RG;
    let m4 = min(row / 4u + e % (16u * RG), (params.M - 1u) / 4u);
    return a[min(k + e / (16u * RG), params.K - 1u) * lda4 + a4 + m4];
  }
  let m = min(row + u / 4u * 4u + i, params.M - 1u);
  return a[m * lda4 + a4 + min(k + u % 4u * 4u, params.K - 1u) / 4u];
}

// The same of the tile of b that starts at col and k.
fn b_at(u: u32, i: u32, col: u32, k: u32) -> vec4f {
  if (LAYOUT == 1u) {
    let n = min(col + u / 4u * 4u + i, params.N - 1u);
    return numbers(b[n * (params.K / 4u) + min(k + u % 4u * 4u, params.K - 1u) / 4u]);
  }
  let e = u + i * 64u * CG;
  let n4 = min(col / 4u + e % (16u * CG), params.N / 4u - 1u);
  return numbers(b[min(k + e / (16u * CG), params.K - 1u) * (params.N / 4u) + n4]);
}

// What a_at or b_at gave, with zeros for terms from end on. Apart from the load, and after the
// products: whoever looks at a number waits until it has come.
fn live(x: vec4f, t: u32, end: u32) -> vec4f {
  return select(vec4f(0), x, t < end);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let thread = lid.x;
  // 8 columns of threads a warp and 2 warps side by side; 4 rows a warp and 4 warps.
  let tx = thread % 8u + thread / 32u % 2u * 8u;
  let ty = thread / 8u % 4u + thread / 64u * 4u;
  let row = wg.y * 64u * RG;
  let col = wg.x * 64u * CG;
  let N4 = params.N / 4u;
  let begin = wg.z * params.slice;
  let end = min(begin + params.slice, params.K);
  // The first threads load a and the next ones b, where there are enough; else some load both.
  let ub = select(thread - 64u * RG, thread, RG + CG > 4u);
  let loads_a = thread < 64u * RG;
  let loads_b = ub < 64u * CG;
  var sum: array<vec4f, 4u * RG * CG>;
  var total: array<vec4f, CG>;
  var next_a: array<vec4f, 4>;
  var next_b: array<vec4f, 4>;
  // @unroll
  for (var h = 0u; h < CG; h++) {
    let c = min(col / 4u + h * 16u + tx, N4 - 1u);
    let start = select(vec4f(0), bias[c], (params.flags & 1u) != 0u);
    // @unroll
    for (var i = 0u; i < 4u * RG; i++) { sum[i * CG + h] = start; }
  }
  if (loads_a) {
    // @unroll
    for (var i = 0u; i < 4u; i++) { next_a[i] = a_at(thread, i, row, begin); }
  }
  if (loads_b) {
    // @unroll
    for (var i = 0u; i < 4u; i++) { next_b[i] = b_at(ub, i, col, begin); }
  }
  var buffer = 0u;
  for (var k = begin; k < end; k += 16u) {
    let a0 = (buffer & 1u) * A_TILE;
    let b0 = (buffer & 1u) * B_TILE;
    if (loads_a) {
      // @unroll
      for (var i = 0u; i < 4u; i++) {
        if (LAYOUT == 2u) {
          let e = thread + i * 64u * RG;
          let t = e / (16u * RG);
          a_tile[a0 + slot(t, e % (16u * RG), 16u * RG)] = live(next_a[i], k + t, end);
        } else {
          let t = thread % 4u * 4u + i;
          let x = vec4f(next_a[0][i], next_a[1][i], next_a[2][i], next_a[3][i]);
          a_tile[a0 + slot(t, thread / 4u, 16u * RG)] = live(x, k + t, end);
        }
      }
      // @unroll
      for (var i = 0u; i < 4u; i++) { next_a[i] = a_at(thread, i, row, k + 16u); }
    }
    if (loads_b) {
      // @unroll
      for (var i = 0u; i < 4u; i++) {
        if (LAYOUT == 1u) {
          let t = ub % 4u * 4u + i;
          let x = vec4f(next_b[0][i], next_b[1][i], next_b[2][i], next_b[3][i]);
          b_tile[b0 + slot(t, ub / 4u, 16u * CG)] = live(x, k + t, end);
        } else {
          let e = ub + i * 64u * CG;
          let t = e / (16u * CG);
          b_tile[b0 + slot(t, e % (16u * CG), 16u * CG)] = live(next_b[i], k + t, end);
        }
      }
      // @unroll
      for (var i = 0u; i < 4u; i++) { next_b[i] = b_at(ub, i, col, k + 16u); }
    }
    workgroupBarrier();
    for (var t0 = 0u; t0 < 16u; t0 += STEP) {
      // @unroll
      for (var t1 = 0u; t1 < STEP; t1++) {
        let t = t0 + t1;
        var x: array<vec4f, RG>;
        // @unroll
        for (var g = 0u; g < RG; g++) {
          x[g] = a_tile[a0 + t * 16u * RG + g * 16u + (ty ^ ((t / 4u * 2u) & 7u))];
        }
        // @unroll
        for (var h = 0u; h < CG; h++) {
          let y = b_tile[b0 + t * 16u * CG + h * 16u + (tx ^ ((t / 4u * 2u) & 7u))];
          if (COLUMN_SUM == 1u) { total[h] += y; }
          // @unroll
          for (var g = 0u; g < RG; g++) {
            // @unroll
            for (var i = 0u; i < 4u; i++) {
              sum[(g * 4u + i) * CG + h] = fma(vec4f(x[g][i]), y, sum[(g * 4u + i) * CG + h]);
            }
          }
        }
      }
    }
    if (BUFFERS == 2u) { buffer ^= 1u; } else { workgroupBarrier(); }
  }
  let rows = params.M + COLUMN_SUM; // of a slice
  // @unroll
  for (var h = 0u; h < CG; h++) {
    let c = col / 4u + h * 16u + tx;
    if (COLUMN_SUM == 1u) {
      if (row + ty == 0u && c < N4) {
        if (PARTIAL == 1u) {
          out[(wg.z * rows + params.M) * N4 + c] = total[h];
        } else {
          beside[c] += total[h];
        }
      }
    }
    // @unroll
    for (var g = 0u; g < RG; g++) {
      // @unroll
      for (var i = 0u; i < 4u; i++) {
        let m = row + g * 64u + ty * 4u + i;
        if (m < params.M && c < N4) {
          let dense = m * N4 + c;
          var at = m * (params.ldout / 4u) + params.out_column / 4u + c;
          if (PARTIAL == 1u) { at = (wg.z * rows + m) * N4 + c; }
          var v = sum[(g * 4u + i) * CG + h];
          if (EPILOGUE == 1u) { v += out[at]; }
          if (EPILOGUE == 2u) { v += residual[dense]; }
          if (KEEP == 1u) { beside[dense] = v; }
          if (EPILOGUE >= 3u) { v = activation(v); }
          out[at] = v;
        }
      }
    }
  }
}

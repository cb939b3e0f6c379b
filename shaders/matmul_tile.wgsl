// matmul_tile: the three products for GPUs, through workgroup memory, 4 RG x 4 CG sums a thread.
//   nn: out (M, N) = a (M, K) · b (K, N) [+ bias]
//   nt: out (M, N) = a (M, K) · b (N, K)ᵀ
//   tn: out (M, N) = a (K, M)ᵀ · b (K, N)
// as the included layout says (matmul_layout_nn.wgsl and so on), then as EPILOGUE says:
//   0: out =    1: out +=    2: out = . + residual    3: out = gelu(.), tanh form    4: erf form
// and with KEEP 1, beside (M, N) = the value before gelu; with COLUMN_SUM 1, beside (N) += sum over
// k of b[k, :].
// Reduction "sequential": one accumulator an element, from bias or 0, fma over k = 0, 1, … K - 1.
// With PARTIAL 1 workgroup z sums only k = z slice … (z + 1) slice - 1, and writes out
// (slices, M + COLUMN_SUM, N) =, the last row the column sum; matmul_slices adds the slices up.
// A workgroup takes a tile of ROWS x COLUMNS elements, and TERMS terms at a time through workgroup
// memory: asks memory for the next, multiplies these, stores the next. Dispatch
// (ceil(N / COLUMNS), ceil(M / ROWS), slices). Needs N, lda, ldout, both columns and, for nt, K to
// be multiples of 4; M and K are any.
// The main loop has neither branch nor test: rows and columns beyond the edge are the last ones
// again, found before the loop and never stored, and only whole goes run in it. With REST 1 the
// terms that are left follow one by one; without, there are none, and no register is kept for them.
// Both factors lie in workgroup memory in fours of rows (a) or columns (b), term by term, in arrays
// of arrays: the compiler guards each index that it does not know, and knows all but the thread's.
// A warp of 32 threads has 4 x 8 groups of 4 x 4 elements, so that it reads the fewest different
// fours.
// Reads a, b (kept as f32 or f16), bias (flag 1), residual. Writes out = or +=, beside = or +=.
const THREADS: u32 = 128u; // a multiple of 32
const WIDE: u32 = 16u; // threads side by side, a multiple of 8; HIGH is one of 4
const RG: u32 = 2u; // groups of 4 rows a thread
const CG: u32 = 2u; // groups of 4 columns a thread
const TERMS: u32 = 8u; // in one go: a multiple of 4, and each thread loads the same number of vec4s
const BUFFERS: u32 = 2u; // 1: half the workgroup memory, and two barriers a go
const GOES: u32 = 1u; // written out in the loop; 2, with 2 buffers: each knows which is its own
const EPILOGUE: u32 = 0u;
const KEEP: u32 = 0u;
const COLUMN_SUM: u32 = 0u;
const PARTIAL: u32 = 0u;
const REST: u32 = 1u; // 0: K is a multiple of GOES TERMS
const HIGH: u32 = THREADS / WIDE; // threads one above the other
const ROWS: u32 = 4u * RG * HIGH;
const COLUMNS: u32 = 4u * CG * WIDE;
const A_LOADS: u32 = ROWS * TERMS / 4u / THREADS; // vec4s a thread
const B_LOADS: u32 = COLUMNS * TERMS / 4u / THREADS;

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

// @include "layout.wgsl"
// @include "storage.wgsl"
// @include "gelu.wgsl"

var<workgroup> a_tile: array<array<array<array<a_four, HIGH>, RG>, TERMS>, BUFFERS>;
var<workgroup> b_tile: array<array<array<array<b_four, WIDE>, CG>, TERMS>, BUFFERS>;

fn activation(x: vec4f) -> vec4f {
  if (EPILOGUE == 3u) { return gelu_tanh(x); }
  return gelu_erf(x);
}

// Where in a vec4 i of those lies that a thread loads of the tile that starts at row and k. Beyond
// the last row or term the last one's.
fn a_at(thread: u32, i: u32, row: u32, k: u32, last: u32) -> u32 {
  let lda4 = params.lda / 4u;
  let a4 = params.a_column / 4u;
  if (A_TERMS) {
    let m = min(row + thread / (TERMS / 4u) + i * (THREADS * 4u / TERMS), params.M - 1u);
    return m * lda4 + a4 + min(k + thread % (TERMS / 4u) * 4u, last) / 4u;
  }
  let e = thread + i * THREADS;
  let m4 = min(row / 4u + e % (ROWS / 4u), (params.M - 1u) / 4u);
  return min(k + e / (ROWS / 4u), last) * lda4 + a4 + m4;
}

// The same of b, whose tile starts at col and k.
fn b_at(thread: u32, i: u32, col: u32, k: u32, last: u32) -> u32 {
  if (B_TERMS) {
    let n = min(col + thread / (TERMS / 4u) + i * (THREADS * 4u / TERMS), params.N - 1u);
    return n * (params.K / 4u) + min(k + thread % (TERMS / 4u) * 4u, last) / 4u;
  }
  let e = thread + i * THREADS;
  let n4 = min(col / 4u + e % (COLUMNS / 4u), params.N / 4u - 1u);
  return min(k + e / (COLUMNS / 4u), last) * (params.N / 4u) + n4;
}

// Keeps what lay at a_at.
fn put_a(thread: u32, i: u32, buffer: u32, x: vec4f) {
  if (A_TERMS) {
    let t = thread % (TERMS / 4u) * 4u;
    let m = thread / (TERMS / 4u) + i * (THREADS * 4u / TERMS);
    // @unroll
    for (var j = 0u; j < 4u; j++) {
      a_tile[buffer][t + j][m / 4u / HIGH][m / 4u % HIGH][m % 4u] = x[j];
    }
  } else {
    let e = thread + i * THREADS;
    a_tile[buffer][e / (ROWS / 4u)][e / HIGH % RG][e % HIGH] = a_four(x[0], x[1], x[2], x[3]);
  }
}

// Keeps what lay at b_at.
fn put_b(thread: u32, i: u32, buffer: u32, x: vec4f) {
  if (B_TERMS) {
    let t = thread % (TERMS / 4u) * 4u;
    let n = thread / (TERMS / 4u) + i * (THREADS * 4u / TERMS);
    // @unroll
    for (var j = 0u; j < 4u; j++) {
      b_tile[buffer][t + j][n / 4u / WIDE][n / 4u % WIDE][n % 4u] = x[j];
    }
  } else {
    let e = thread + i * THREADS;
    b_tile[buffer][e / (COLUMNS / 4u)][e / WIDE % CG][e % WIDE] = b_four(x[0], x[1], x[2], x[3]);
  }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let thread = lid.x;
  let tx = thread % 8u + thread / 32u % (WIDE / 8u) * 8u;
  let ty = thread / 8u % 4u + thread / 32u / (WIDE / 8u) * 4u;
  let row = wg.y * ROWS;
  let col = wg.x * COLUMNS;
  let N4 = params.N / 4u;
  let begin = min(wg.z * params.slice, params.K);
  let end = min(begin + params.slice, params.K);
  let whole = begin + (end - begin) / (GOES * TERMS) * (GOES * TERMS);
  let stop = select(whole, end, REST == 0u); // where the main loop ends
  let sums_b = COLUMN_SUM == 1u && wg.y == 0u && ty == 0u;
  var sum: array<vec4f, 4u * RG * CG>;
  var total: array<vec4f, CG>;
  // @unroll
  for (var h = 0u; h < CG; h++) {
    let c = min(col / 4u + h * WIDE + tx, N4 - 1u);
    let start = select(vec4f(0), bias[c], (params.flags & 1u) != 0u);
    // @unroll
    for (var i = 0u; i < 4u * RG; i++) { sum[i * CG + h] = start; }
  }
  if (stop > begin) {
    let a_step = select(TERMS * (params.lda / 4u), TERMS / 4u, A_TERMS);
    let b_step = select(TERMS * N4, TERMS / 4u, B_TERMS);
    var at_a: array<u32, A_LOADS>;
    var at_b: array<u32, B_LOADS>;
    var next_a: array<vec4f, A_LOADS>;
    var next_b: array<stored4, B_LOADS>;
    // @unroll
    for (var i = 0u; i < A_LOADS; i++) {
      at_a[i] = a_at(thread, i, row, begin, end - 1u);
      next_a[i] = a[at_a[i]];
    }
    // @unroll
    for (var i = 0u; i < B_LOADS; i++) {
      at_b[i] = b_at(thread, i, col, begin, end - 1u);
      next_b[i] = b[at_b[i]];
    }
    // @unroll
    for (var i = 0u; i < A_LOADS; i++) { put_a(thread, i, 0u, next_a[i]); }
    // @unroll
    for (var i = 0u; i < B_LOADS; i++) { put_b(thread, i, 0u, numbers(next_b[i])); }
    workgroupBarrier();
    var buffer = 0u;
    for (var k = begin; k < stop; k += GOES * TERMS) {
      // @unroll
      for (var go = 0u; go < GOES; go++) {
        // The last go asks for its own terms once more, which nobody multiplies.
        let isLast = go + 1u == GOES && k + GOES * TERMS == stop;
        // @unroll
        for (var i = 0u; i < A_LOADS; i++) {
          at_a[i] += select(a_step, 0u, isLast);
          next_a[i] = a[at_a[i]];
        }
        // @unroll
        for (var i = 0u; i < B_LOADS; i++) {
          at_b[i] += select(b_step, 0u, isLast);
          next_b[i] = b[at_b[i]];
        }
        let now = select(buffer, go, GOES == 2u);
        // @unroll
        for (var t = 0u; t < TERMS; t++) {
          var x: array<vec4f, RG>;
          var y: array<vec4f, CG>;
          // @unroll
          for (var g = 0u; g < RG; g++) { x[g] = a_read(now, t, g, ty); }
          // @unroll
          for (var h = 0u; h < CG; h++) { y[h] = b_read(now, t, h, tx); }
          // @unroll
          for (var g = 0u; g < RG; g++) {
            // @unroll
            for (var i = 0u; i < 4u; i++) {
              // @unroll
              for (var h = 0u; h < CG; h++) {
                sum[(g * 4u + i) * CG + h] = fma(vec4f(x[g][i]), y[h], sum[(g * 4u + i) * CG + h]);
              }
            }
          }
        }
        // Apart from the products, so that only the first row of workgroups pays for it.
        if (sums_b) {
          for (var t = 0u; t < TERMS; t++) {
            // @unroll
            for (var h = 0u; h < CG; h++) { total[h] += b_read(now, t, h, tx); }
          }
        }
        if (BUFFERS == 2u) { buffer ^= 1u; } else { workgroupBarrier(); }
        let then = select(buffer, 1u - go, GOES == 2u);
        // @unroll
        for (var i = 0u; i < A_LOADS; i++) { put_a(thread, i, then, next_a[i]); }
        // @unroll
        for (var i = 0u; i < B_LOADS; i++) { put_b(thread, i, then, numbers(next_b[i])); }
        workgroupBarrier();
      }
    }
  }
  for (var k = stop; REST == 1u && k < end; k += TERMS) {
    // @unroll
    for (var i = 0u; i < A_LOADS; i++) {
      put_a(thread, i, 0u, a[a_at(thread, i, row, k, end - 1u)]);
    }
    // @unroll
    for (var i = 0u; i < B_LOADS; i++) {
      put_b(thread, i, 0u, numbers(b[b_at(thread, i, col, k, end - 1u)]));
    }
    workgroupBarrier();
    for (var t = 0u; t < min(TERMS, end - k); t++) {
      // @unroll
      for (var h = 0u; h < CG; h++) {
        let y = b_read(0u, t, h, tx);
        if (COLUMN_SUM == 1u) { total[h] += y; }
        // @unroll
        for (var g = 0u; g < RG; g++) {
          // @unroll
          for (var i = 0u; i < 4u; i++) {
            let x = vec4f(a_tile[0][t][g][ty][i]);
            sum[(g * 4u + i) * CG + h] = fma(x, y, sum[(g * 4u + i) * CG + h]);
          }
        }
      }
    }
    workgroupBarrier();
  }
  let rows = params.M + COLUMN_SUM; // of a slice
  // @unroll
  for (var h = 0u; h < CG; h++) {
    let c = col / 4u + h * WIDE + tx;
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
        let m = row + (g * HIGH + ty) * 4u + i;
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

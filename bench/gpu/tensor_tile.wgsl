// tensor_tile: a product of halves by subgroup matrices (tensor cores), summed in f32, through
// workgroup memory.
//   LAYOUT 0, nn: out (M, N) = a (M, K) · b (K, N)
//   LAYOUT 1, nt: out (M, N) = a (M, K) · b (N, K)ᵀ
//   LAYOUT 2, tn: out (M, N) = a (K, M)ᵀ · b (K, N)
// A workgroup of WM x WN subgroups of 32 takes a tile of BM x BN elements, BK terms at a time
// through workgroup memory, the next BK on their way from memory meanwhile. A tile lies there as
// its factor does in memory, each row PAD halves apart from the next, so that rows begin in
// different banks.
// Dispatch (N / BN, M / BM); M, N and K are whole tiles. For Dawn: no other implementation has these
// matrices.
// Reads a, b: halves, 8 a vec4u. Writes out =.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);

const LAYOUT: u32 = 0u;
const BM: u32 = 128u;
const BN: u32 = 128u;
const BK: u32 = 64u;
const WM: u32 = 2u;
const WN: u32 = 2u;
const PAD: u32 = 8u;
const BUFFERS: u32 = 1u; // 2: twice the workgroup memory, and one barrier for BK terms
const THREADS: u32 = 32u * WM * WN;
const SM: u32 = BM / WM / 16u; // matrices of a subgroup, down
const SN: u32 = BN / WN / 16u; // and across
// Rows and columns of the tiles, as LAYOUT has them.
const TN: u32 = LAYOUT / 2u;
const NT: u32 = LAYOUT % 2u;
const A_ROWS: u32 = BM * (1u - TN) + BK * TN;
const A_COLS: u32 = BK * (1u - TN) + BM * TN;
const B_ROWS: u32 = BK * (1u - NT) + BN * NT;
const B_COLS: u32 = BN * (1u - NT) + BK * NT;
const A_LOADS: u32 = A_ROWS * A_COLS / 8u / THREADS; // vec4u a thread
const B_LOADS: u32 = B_ROWS * B_COLS / 8u / THREADS;
const A_STRIDE: u32 = (A_COLS + PAD) / 4u; // vec4h a row
const B_STRIDE: u32 = (B_COLS + PAD) / 4u;
const A_TILE: u32 = A_ROWS * A_STRIDE;
const B_TILE: u32 = B_ROWS * B_STRIDE;

struct Params {
  M: u32,
  N: u32,
  K: u32,
  pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4u>;
@group(0) @binding(2) var<storage, read> b: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // (M, N)

var<workgroup> a_tile: array<vec4h, A_TILE * BUFFERS>;
var<workgroup> b_tile: array<vec4h, B_TILE * BUFFERS>;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sum = subgroup_matrix_result<f32, 16, 16>;

// The eight halves u of the tile of a that starts at row and k.
fn a_at(u: u32, row: u32, k: u32) -> vec4u {
  let r = u / (A_COLS / 8u);
  let c = u % (A_COLS / 8u);
  if (LAYOUT == 2u) { return a[((k + r) * params.M + row) / 8u + c]; }
  return a[((row + r) * params.K + k) / 8u + c];
}

fn b_at(u: u32, col: u32, k: u32) -> vec4u {
  let r = u / (B_COLS / 8u);
  let c = u % (B_COLS / 8u);
  if (LAYOUT == 1u) { return b[((col + r) * params.K + k) / 8u + c]; }
  return b[((k + r) * params.N + col) / 8u + c];
}

fn put_a(u: u32, buffer: u32, x: vec4u) {
  let at = buffer + u / (A_COLS / 8u) * A_STRIDE + u % (A_COLS / 8u) * 2u;
  a_tile[at] = bitcast<vec4h>(x.xy);
  a_tile[at + 1u] = bitcast<vec4h>(x.zw);
}

fn put_b(u: u32, buffer: u32, x: vec4u) {
  let at = buffer + u / (B_COLS / 8u) * B_STRIDE + u % (B_COLS / 8u) * 2u;
  b_tile[at] = bitcast<vec4h>(x.xy);
  b_tile[at + 1u] = bitcast<vec4h>(x.zw);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let row = wg.y * BM;
  let col = wg.x * BN;
  let group = lid.x / 32u;
  let own_row = group / WN * (16u * SM); // of the tile
  let own_col = group % WN * (16u * SN);
  var sums: array<Sum, SM * SN>;
  var left: array<Left, SM>;
  var next_a: array<vec4u, A_LOADS>;
  var next_b: array<vec4u, B_LOADS>;
  // @unroll
  for (var i = 0u; i < A_LOADS; i++) { next_a[i] = a_at(lid.x + i * THREADS, row, 0u); }
  // @unroll
  for (var i = 0u; i < B_LOADS; i++) { next_b[i] = b_at(lid.x + i * THREADS, col, 0u); }
  var a_buffer = 0u;
  var b_buffer = 0u;
  // @unroll
  for (var i = 0u; i < A_LOADS; i++) { put_a(lid.x + i * THREADS, a_buffer, next_a[i]); }
  // @unroll
  for (var i = 0u; i < B_LOADS; i++) { put_b(lid.x + i * THREADS, b_buffer, next_b[i]); }
  workgroupBarrier();
  var k = 0u;
  loop {
    k += BK;
    if (k < params.K) {
      // @unroll
      for (var i = 0u; i < A_LOADS; i++) { next_a[i] = a_at(lid.x + i * THREADS, row, k); }
      // @unroll
      for (var i = 0u; i < B_LOADS; i++) { next_b[i] = b_at(lid.x + i * THREADS, col, k); }
    }
    // Offsets and strides count vec4h.
    // @unroll
    for (var t = 0u; t < BK; t += 16u) {
      // @unroll
      for (var i = 0u; i < SM; i++) {
        if (LAYOUT == 2u) {
          let at = a_buffer + t * A_STRIDE + (own_row + i * 16u) / 4u;
          left[i] = subgroupMatrixLoad<Left, col_major>(&a_tile, at, A_STRIDE);
        } else {
          let at = a_buffer + (own_row + i * 16u) * A_STRIDE + t / 4u;
          left[i] = subgroupMatrixLoad<Left, row_major>(&a_tile, at, A_STRIDE);
        }
      }
      // @unroll
      for (var j = 0u; j < SN; j++) {
        var right: Right;
        if (LAYOUT == 1u) {
          let at = b_buffer + (own_col + j * 16u) * B_STRIDE + t / 4u;
          right = subgroupMatrixLoad<Right, col_major>(&b_tile, at, B_STRIDE);
        } else {
          let at = b_buffer + t * B_STRIDE + (own_col + j * 16u) / 4u;
          right = subgroupMatrixLoad<Right, row_major>(&b_tile, at, B_STRIDE);
        }
        // @unroll
        for (var i = 0u; i < SM; i++) {
          sums[i * SN + j] = subgroupMatrixMultiplyAccumulate(left[i], right, sums[i * SN + j]);
        }
      }
    }
    if (k >= params.K) { break; }
    if (BUFFERS == 2u) {
      a_buffer = A_TILE - a_buffer;
      b_buffer = B_TILE - b_buffer;
    } else {
      workgroupBarrier(); // all have read the tile
    }
    // @unroll
    for (var i = 0u; i < A_LOADS; i++) { put_a(lid.x + i * THREADS, a_buffer, next_a[i]); }
    // @unroll
    for (var i = 0u; i < B_LOADS; i++) { put_b(lid.x + i * THREADS, b_buffer, next_b[i]); }
    workgroupBarrier();
  }
  // @unroll
  for (var i = 0u; i < SM; i++) {
    // @unroll
    for (var j = 0u; j < SN; j++) {
      let at = (row + own_row + i * 16u) * params.N + col + own_col + j * 16u;
      subgroupMatrixStore<row_major>(&out, at, sums[i * SN + j], params.N);
    }
  }
}

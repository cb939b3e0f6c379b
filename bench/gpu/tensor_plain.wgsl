// tensor_plain: a product of halves by subgroup matrices (tensor cores), summed in f32, each subgroup
// straight from memory.
//   LAYOUT 0, nn: out (M, N) = a (M, K) · b (K, N)
//   LAYOUT 1, nt: out (M, N) = a (M, K) · b (N, K)ᵀ
//   LAYOUT 2, tn: out (M, N) = a (K, M)ᵀ · b (K, N)
// A workgroup of WM x WN subgroups of 32 takes a tile of BM x BN elements, 16 terms at a time.
// Dispatch (N / BN, M / BM); M, N and K are whole tiles. For Dawn: no other implementation has these
// matrices.
// Reads a, b. Writes out =.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
diagnostic(off, chromium.subgroup_matrix_uniformity);

const LAYOUT: u32 = 0u;
const BM: u32 = 128u;
const BN: u32 = 128u;
const WM: u32 = 2u;
const WN: u32 = 2u;
const SM: u32 = BM / WM / 16u; // matrices of a subgroup, down
const SN: u32 = BN / WN / 16u; // and across

struct Params {
  M: u32,
  N: u32,
  K: u32,
  pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f16>;
@group(0) @binding(2) var<storage, read> b: array<f16>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // (M, N)

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Sum = subgroup_matrix_result<f32, 16, 16>;

@compute @workgroup_size(32u * WM * WN)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let M = params.M;
  let N = params.N;
  let K = params.K;
  let group = lid.x / 32u;
  let row = wg.y * BM + group / WN * (16u * SM);
  let col = wg.x * BN + group % WN * (16u * SN);
  var sums: array<Sum, SM * SN>;
  var left: array<Left, SM>;
  for (var k = 0u; k < K; k += 16u) {
    // @unroll
    for (var i = 0u; i < SM; i++) {
      if (LAYOUT == 2u) {
        left[i] = subgroupMatrixLoad<Left, col_major>(&a, k * M + row + i * 16u, M);
      } else {
        left[i] = subgroupMatrixLoad<Left, row_major>(&a, (row + i * 16u) * K + k, K);
      }
    }
    // @unroll
    for (var j = 0u; j < SN; j++) {
      var right: Right;
      if (LAYOUT == 1u) {
        right = subgroupMatrixLoad<Right, col_major>(&b, (col + j * 16u) * K + k, K);
      } else {
        right = subgroupMatrixLoad<Right, row_major>(&b, k * N + col + j * 16u, N);
      }
      // @unroll
      for (var i = 0u; i < SM; i++) {
        sums[i * SN + j] = subgroupMatrixMultiplyAccumulate(left[i], right, sums[i * SN + j]);
      }
    }
  }
  // @unroll
  for (var i = 0u; i < SM; i++) {
    // @unroll
    for (var j = 0u; j < SN; j++) {
      let at = (row + i * 16u) * N + col + j * 16u;
      subgroupMatrixStore<row_major>(&out, at, sums[i * SN + j], N);
    }
  }
}

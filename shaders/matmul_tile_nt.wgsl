// matmul_tile_nt: as matmul_tile_nn, for out (M, N) = a (M, K) · b (N, K)ᵀ: both factors'
// neighbours in memory are terms.
alias a_four = array<f32, 4>;
alias b_four = array<f32, 4>;
const A_TERMS: bool = true;
const B_TERMS: bool = true;

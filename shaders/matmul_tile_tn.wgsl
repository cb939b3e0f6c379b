// matmul_tile_tn: as matmul_tile_nn, for out (M, N) = a (K, M)ᵀ · b (K, N): a's neighbours in
// memory are rows, b's are columns.
alias a_four = vec4f;
alias b_four = vec4f;
const A_TERMS: bool = false;
const B_TERMS: bool = false;

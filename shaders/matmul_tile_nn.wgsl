// matmul_tile_nn: which neighbours the factors have; for `// @include "layout.wgsl"`.
// out (M, N) = a (M, K) · b (K, N): a's neighbours in memory are terms, b's are columns. Four
// neighbours that are no terms go through workgroup memory as one vec4, else each for itself.
alias a_four = array<f32, 4>; // four rows of a term
alias b_four = vec4f; // four columns of a term
const A_TERMS: bool = true;
const B_TERMS: bool = false;

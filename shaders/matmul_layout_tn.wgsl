// matmul_layout_tn: as matmul_layout_nn, for out (M, N) = a (K, M)ᵀ · b (K, N): a's neighbours in
// memory are rows, b's are columns.
alias a_four = vec4f;
alias b_four = vec4f;
const A_TERMS: bool = false;
const B_TERMS: bool = false;

// Four rows of a term.
fn a_read(buffer: u32, t: u32, g: u32, ty: u32) -> vec4f {
  return a_tile[buffer][t][g][ty];
}

// Four columns of a term.
fn b_read(buffer: u32, t: u32, h: u32, tx: u32) -> vec4f {
  return b_tile[buffer][t][h][tx];
}

// matmul_layout_nt: as matmul_layout_nn, for out (M, N) = a (M, K) · b (N, K)ᵀ: both factors'
// neighbours in memory are terms.
alias a_four = array<f32, 4>;
alias b_four = array<f32, 4>;
const A_TERMS: bool = true;
const B_TERMS: bool = true;

// Four rows of a term.
fn a_read(buffer: u32, t: u32, g: u32, ty: u32) -> vec4f {
  return vec4f(
    a_tile[buffer][t][g][ty][0],
    a_tile[buffer][t][g][ty][1],
    a_tile[buffer][t][g][ty][2],
    a_tile[buffer][t][g][ty][3],
  );
}

// Four columns of a term.
fn b_read(buffer: u32, t: u32, h: u32, tx: u32) -> vec4f {
  return vec4f(
    b_tile[buffer][t][h][tx][0],
    b_tile[buffer][t][h][tx][1],
    b_tile[buffer][t][h][tx][2],
    b_tile[buffer][t][h][tx][3],
  );
}

// matmul_layout_nn: which neighbours the factors have; for `// @include "layout.wgsl"`.
// out (M, N) = a (M, K) · b (K, N): a's neighbours in memory are terms, b's are columns. Four
// neighbours that are no terms go through workgroup memory as one vec4, else each for itself.
alias a_four = array<f32, 4>; // four rows of a term
alias b_four = vec4f; // four columns of a term
const A_TERMS: bool = true;
const B_TERMS: bool = false;

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
  return b_tile[buffer][t][h][tx];
}

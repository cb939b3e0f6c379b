// matmul_nn_rows: matmul_nn for a few rows, where reading b is the whole cost.
//   out (M, N) = a (M, K) · b (K, N) [+ bias], then as EPILOGUE says:
//   0: out =    1: out +=    2: out = . + residual    3: out = gelu(.), tanh form    4: erf form
// and with KEEP 1, pre = the value before gelu.
// Reduction "sequential": one accumulator an element, from bias or 0, fma over k = 0, 1, … K - 1.
// A thread has TV vec4 columns, WG_SIZE apart, of ROWS rows; dispatch
// (ceil(N / (4 WG_SIZE TV)), ceil(M / ROWS)). Shapes, reads and writes are those of matmul_nn.
const WG_SIZE: u32 = 32u;
const ROWS: u32 = 1u;
const TV: u32 = 2u;
const EPILOGUE: u32 = 0u;
const KEEP: u32 = 0u;

struct Params {
  M: u32,
  N: u32,
  K: u32,
  flags: u32, // 1: bias
  lda: u32, // elements from a row of a to the next
  ldout: u32,
  a_column: u32, // first column of a
  out_column: u32, // first column of out
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>; // (M, lda)
@group(0) @binding(2) var<storage, read> b: array<stored4>; // (K, N)
@group(0) @binding(3) var<storage, read> bias: array<vec4f>; // (N)
@group(0) @binding(4) var<storage, read> residual: array<vec4f>; // (M, N)
@group(0) @binding(5) var<storage, read_write> pre: array<vec4f>; // (M, N)
@group(0) @binding(6) var<storage, read_write> out: array<vec4f>; // (M, ldout)

// @include "storage.wgsl"
// @include "gelu.wgsl"

fn activation(x: vec4f) -> vec4f {
  if (EPILOGUE == 3u) { return gelu_tanh(x); }
  return gelu_erf(x);
}

@compute @workgroup_size(WG_SIZE)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let N4 = params.N / 4u;
  let lda4 = params.lda / 4u;
  let row = wg.y * ROWS;
  let col = wg.x * (WG_SIZE * TV) + lid.x;
  var sum: array<vec4f, ROWS * TV>;
  // @unroll
  for (var j = 0u; j < TV; j++) {
    let c = min(col + j * WG_SIZE, N4 - 1u);
    let start = select(vec4f(0), bias[c], (params.flags & 1u) != 0u);
    // @unroll
    for (var i = 0u; i < ROWS; i++) { sum[i * TV + j] = start; }
  }
  var q: array<vec4f, ROWS>;
  for (var k = 0u; k < params.K; k += 4u) {
    let live = vec4u(k) + vec4u(0, 1, 2, 3) < vec4u(params.K);
    // @unroll
    for (var i = 0u; i < ROWS; i++) {
      // Seek to a[row, k]; beyond the last row the last one again, whose sums are not stored.
      let at = min(row + i, params.M - 1u) * lda4 + (params.a_column + k) / 4u;
      q[i] = select(vec4f(0), a[at], live);
    }
    // @unroll
    for (var t = 0u; t < 4u; t++) {
      let at = min(k + t, params.K - 1u) * N4; // seek to b[k + t, :]
      // @unroll
      for (var j = 0u; j < TV; j++) {
        let p = numbers(b[at + min(col + j * WG_SIZE, N4 - 1u)]);
        // @unroll
        for (var i = 0u; i < ROWS; i++) {
          sum[i * TV + j] = fma(vec4f(q[i][t]), p, sum[i * TV + j]);
        }
      }
    }
  }
  // @unroll
  for (var j = 0u; j < TV; j++) {
    let c = col + j * WG_SIZE;
    // @unroll
    for (var i = 0u; i < ROWS; i++) {
      if (row + i < params.M && c < N4) {
        let at = (row + i) * (params.ldout / 4u) + params.out_column / 4u + c;
        let dense = (row + i) * N4 + c;
        var y = sum[i * TV + j];
        if (EPILOGUE == 1u) { y += out[at]; }
        if (EPILOGUE == 2u) { y += residual[dense]; }
        if (KEEP == 1u) { pre[dense] = y; }
        if (EPILOGUE >= 3u) { y = activation(y); }
        out[at] = y;
      }
    }
  }
}

// matmul_nn_shared: matmul_nn for a few rows on GPUs, where reading b is the whole cost and the
// columns of b are too few for as many threads as that takes.
//   0: out = a b [+ bias]    1: out +=    2: out = . + residual    3: out = gelu(.), tanh    4: erf
// Reduction "shared": slice s of 32 sums, with fma, k = 128 i + 4 s … + 3 for i = 0, 1, …, and a tree
// adds the slices up, so that bits differ from those of "sequential".
// A workgroup of 32 slices x 8 vec4s takes 32 columns of b for ROWS rows of a; dispatch
// (ceil(N / 32), ceil(M / ROWS)).
// Needs N, lda, ldout and both columns to be multiples of 4; M and K are any.
// Reads a, b (kept as f32 or f16), bias (flag 1), residual. Writes out = or +=.
const ROWS: u32 = 1u;
const EPILOGUE: u32 = 0u;

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
@group(0) @binding(5) var<storage, read_write> out: array<vec4f>; // (M, ldout)

var<workgroup> part: array<vec4f, ROWS * 256u>;

// @include "storage.wgsl"
// @include "gelu.wgsl"

fn activation(x: vec4f) -> vec4f {
  if (EPILOGUE == 3u) { return gelu_tanh(x); }
  return gelu_erf(x);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let thread = lid.x;
  let slice = thread / 8u;
  let N4 = params.N / 4u;
  let row = wg.y * ROWS;
  let c = wg.x * 8u + thread % 8u;
  var sum: array<vec4f, ROWS>;
  for (var k = 4u * slice; k < params.K; k += 128u) {
    let live = vec4u(k) + vec4u(0, 1, 2, 3) < vec4u(params.K);
    var p: array<vec4f, 4>;
    // @unroll
    for (var t = 0u; t < 4u; t++) {
      p[t] = numbers(b[min(k + t, params.K - 1u) * N4 + min(c, N4 - 1u)]); // b[k + t, :]
    }
    // @unroll
    for (var i = 0u; i < ROWS; i++) {
      // Seek to a[row, k]; beyond the last row the last one again, whose sums are not stored.
      let at = min(row + i, params.M - 1u) * (params.lda / 4u) + (params.a_column + k) / 4u;
      let q = select(vec4f(0), a[at], live);
      // @unroll
      for (var t = 0u; t < 4u; t++) { sum[i] = fma(vec4f(q[t]), p[t], sum[i]); }
    }
  }
  // @unroll
  for (var i = 0u; i < ROWS; i++) { part[i * 256u + thread] = sum[i]; }
  for (var half = 128u; half >= 8u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      // @unroll
      for (var i = 0u; i < ROWS; i++) {
        part[i * 256u + thread] += part[i * 256u + half + thread];
      }
    }
  }
  workgroupBarrier();
  let i = thread / 8u; // a row of the tile now
  if (i >= ROWS || row + i >= params.M || c >= N4) { return; }
  let at = (row + i) * (params.ldout / 4u) + params.out_column / 4u + c;
  var y = part[i * 256u + thread % 8u];
  if ((params.flags & 1u) != 0u) { y += bias[c]; }
  if (EPILOGUE == 1u) { y += out[at]; }
  if (EPILOGUE == 2u) { y += residual[(row + i) * N4 + c]; }
  if (EPILOGUE >= 3u) { y = activation(y); }
  out[at] = y;
}

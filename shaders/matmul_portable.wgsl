// matmul_portable: the three products for any shape, offset and stride, without subgroups.
//   LAYOUT 0, nn: out (M, N) = a (M, K) · b (K, N) [+ bias]
//   LAYOUT 1, nt: out (M, N) = a (M, K) · b (N, K)ᵀ
//   LAYOUT 2, tn: out (M, N) = a (K, M)ᵀ · b (K, N)
// then as EPILOGUE says:
//   0: out =    1: out +=    2: out = . + residual    3: out = gelu(.), tanh form    4: erf form
// and with KEEP 1, beside (M, N) = the value before gelu; with COLUMN_SUM 1, beside (N) += sum over
// k of b[k, :].
// Reduction "sequential": one accumulator an element, from bias or 0, fma over k = 0, 1, … K - 1.
// A workgroup of SIDE x SIDE threads takes a tile of TILE x TILE elements, DEPTH terms at a time
// through workgroup memory; a thread has 4 x 4 elements, SIDE apart, so that neighbours store to
// neighbours. Dispatch (ceil(N / TILE), ceil(M / TILE)).
// Reads a, b (kept as f32 or f16), bias (flag 1), residual. Writes out = or +=, beside = or +=.
const SIDE: u32 = 16u;
const TILE: u32 = 4u * SIDE;
const DEPTH: u32 = 16u;
const LAYOUT: u32 = 0u;
const EPILOGUE: u32 = 0u;
const KEEP: u32 = 0u;
const COLUMN_SUM: u32 = 0u;

struct Params {
  M: u32,
  N: u32,
  K: u32,
  flags: u32, // 1: bias
  lda: u32, // elements from a row of a to the next
  ldb: u32,
  ldout: u32,
  a_column: u32, // first column of a
  b_row: u32, // first row of b
  out_column: u32, // first column of out
  pad0: u32,
  pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>; // (M, lda); tn: (K, lda)
@group(0) @binding(2) var<storage, read> b: array<stored>; // (K, ldb); nt: (N, ldb)
@group(0) @binding(3) var<storage, read> bias: array<f32>; // (N)
@group(0) @binding(4) var<storage, read> residual: array<f32>; // (M, N)
@group(0) @binding(5) var<storage, read_write> beside: array<f32>; // (M, N) or (N)
@group(0) @binding(6) var<storage, read_write> out: array<f32>; // (M, ldout)

var<workgroup> a_tile: array<f32, DEPTH * TILE>;
var<workgroup> b_tile: array<f32, DEPTH * TILE>;

// @include "storage.wgsl"
// @include "gelu.wgsl"

fn activation(x: f32) -> f32 {
  if (EPILOGUE == 3u) { return gelu_tanh(vec4f(x)).x; }
  return gelu_erf(vec4f(x)).x;
}

fn a_at(m: u32, k: u32) -> f32 {
  if (m >= params.M || k >= params.K) { return 0.0; }
  if (LAYOUT == 2u) { return a[k * params.lda + params.a_column + m]; }
  return a[m * params.lda + params.a_column + k];
}

fn b_at(k: u32, n: u32) -> f32 {
  if (n >= params.N || k >= params.K) { return 0.0; }
  let along = (params.b_row + n) * params.ldb + k;
  let across = (params.b_row + k) * params.ldb + n;
  let at = select(across, along, LAYOUT == 1u);
  return number(b[at / PER], at);
}

@compute @workgroup_size(SIDE, SIDE)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let thread = lid.y * SIDE + lid.x;
  let row = wg.y * TILE;
  let col = wg.x * TILE;
  var sum: array<f32, 16>;
  var total: array<f32, 4>;
  if ((params.flags & 1u) != 0u) {
    // @unroll
    for (var j = 0u; j < 4u; j++) {
      let start = bias[min(col + j * SIDE + lid.x, params.N - 1u)];
      // @unroll
      for (var i = 0u; i < 4u; i++) { sum[4u * i + j] = start; }
    }
  }
  for (var k = 0u; k < params.K; k += DEPTH) {
    // Neighbouring threads load neighbouring elements: along k, or along the other dimension.
    for (var e = thread; e < DEPTH * TILE; e += SIDE * SIDE) {
      let along = vec2u(e % DEPTH, e / DEPTH); // (k, m) or (k, n)
      let across = vec2u(e / TILE, e % TILE);
      let at = select(along, across, LAYOUT == 2u);
      a_tile[at.x * TILE + at.y] = a_at(row + at.y, k + at.x);
      let bt = select(across, along, LAYOUT == 1u);
      b_tile[bt.x * TILE + bt.y] = b_at(k + bt.x, col + bt.y);
    }
    workgroupBarrier();
    for (var d = 0u; d < DEPTH; d++) {
      var p: array<f32, 4>;
      // @unroll
      for (var j = 0u; j < 4u; j++) {
        p[j] = b_tile[d * TILE + j * SIDE + lid.x];
        total[j] += p[j];
      }
      // @unroll
      for (var i = 0u; i < 4u; i++) {
        let q = a_tile[d * TILE + i * SIDE + lid.y];
        // @unroll
        for (var j = 0u; j < 4u; j++) { sum[4u * i + j] = fma(q, p[j], sum[4u * i + j]); }
      }
    }
    workgroupBarrier();
  }
  // @unroll
  for (var j = 0u; j < 4u; j++) {
    let n = col + j * SIDE + lid.x;
    if (COLUMN_SUM == 1u && row + lid.y == 0u && n < params.N) {
      beside[n] += total[j];
    }
    // @unroll
    for (var i = 0u; i < 4u; i++) {
      let m = row + i * SIDE + lid.y;
      if (m < params.M && n < params.N) {
        let at = m * params.ldout + params.out_column + n;
        var y = sum[4u * i + j];
        if (EPILOGUE == 1u) { y += out[at]; }
        if (EPILOGUE == 2u) { y += residual[m * params.N + n]; }
        if (KEEP == 1u) { beside[m * params.N + n] = y; }
        if (EPILOGUE >= 3u) { y = activation(y); }
        out[at] = y;
      }
    }
  }
}

// matmul_nn: out (M, N) = a (M, K) · b (K, N) [+ bias], then as EPILOGUE says:
//   0: out =    1: out +=    2: out = . + residual    3: out = gelu(.), tanh form    4: erf form
// and with KEEP 1, pre = the value before gelu.
// Reduction "sequential": one accumulator an element, from bias or 0, fma over k = 0, 1, … K - 1.
// One subgroup of LANES a tile of TM rows and LANES TV vec4 columns; dispatch
// (ceil(N / (4 LANES TV)), ceil(M / TM)). A lane loads a vec4 along k of every LANES-th row of a,
// which go to all lanes by a shuffle, and owns TV vec4 columns of b.
// Needs N, lda, ldout and both columns to be multiples of 4; M and K are any: a's last vec4 may
// reach beyond K, where it is not used.
// Reads a, b (in buffers, b kept as f32 or f16, or in textures), bias (flag 1), residual. Writes out
// = or +=, pre =.
const LANES: u32 = 8u;
const TM: u32 = 32u; // a multiple of LANES
const TV: u32 = 2u;
const G: u32 = TM / LANES; // rows of a that a lane loads
const TS: u32 = 8u; // rows stored in one go, a divisor of TM
const EPILOGUE: u32 = 0u;
const KEEP: u32 = 0u;
const FAR: u32 = 0u; // 1: b is too large for a core's cache
const LINES: u32 = LANES * TV / LINE; // cache lines of 64 bytes of a row of b

struct Params {
  M: u32,
  N: u32,
  K: u32,
  flags: u32, // 1: bias
  lda: u32, // elements from a row of a to the next
  ldout: u32,
  a_column: u32, // first column of a
  out_column: u32, // first column of out
  zero: u32, // 0, which no compiler knows
  pad0: u32,
  pad1: u32,
  pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Bindings 1 and 2: a (M, lda), b (K, N).
@group(0) @binding(3) var<storage, read> bias: array<vec4f>; // (N)
@group(0) @binding(4) var<storage, read> residual: array<vec4f>; // (M, N)
@group(0) @binding(5) var<storage, read_write> pre: array<vec4f>; // (M, N)
@group(0) @binding(6) var<storage, read_write> out: array<vec4f>; // (M, ldout)

// @include "storage.wgsl"
// @include "factors.wgsl"
// @include "gelu.wgsl"

fn activation(x: vec4f) -> vec4f {
  if (EPILOGUE == 3u) { return gelu_tanh(x); }
  return gelu_erf(x);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let lane = lid.x;
  let N4 = params.N / 4u;
  let lda4 = params.lda / 4u;
  let ldout4 = params.ldout / 4u;
  let row = wg.y * TM;
  let col = wg.x * (LANES * TV) + lane;
  var sum: array<vec4f, TM * TV>;
  // @unroll
  for (var j = 0u; j < TV; j++) {
    let c = min(col + j * LANES, N4 - 1u);
    let start = select(vec4f(0), bias[c], (params.flags & 1u) != 0u);
    // @unroll
    for (var i = 0u; i < TM; i++) { sum[i * TV + j] = start; }
  }
  var touched = 0u;
  var q: array<vec4f, G>;
  var p: array<vec4f, 4u * TV>;
  for (var k = 0u; k < params.K; k += 4u) {
    let live = vec4u(k) + vec4u(0, 1, 2, 3) < vec4u(params.K);
    // @unroll
    for (var g = 0u; g < G; g++) {
      // Seek to a[row, k]; beyond the last row the last one again, whose sums are not stored.
      let at = min(row + g * LANES + lane, params.M - 1u) * lda4 + (params.a_column + k) / 4u;
      q[g] = select(vec4f(0), left4(at), live);
    }
    // @unroll
    for (var t = 0u; t < 4u; t++) {
      let at = min(k + t, params.K - 1u) * N4; // seek to b[k + t, :]
      // @unroll
      for (var j = 0u; j < TV; j++) {
        p[t * TV + j] = right4(at + min(col + j * LANES, N4 - 1u));
      }
    }
    if (FAR == 1u) {
      // Touch the next rows' cache lines all at once, a lane each: else they come one by one.
      // The masked bits go into an address, as a load that nothing uses would be removed.
      // @unroll
      for (var j = 0u; j < TV; j++) {
        let line = j * LANES + lane;
        let at = min(k + 4u + line / LINES, params.K - 1u) * N4;
        let bits = touch4(at + min(wg.x * (LANES * TV) + line % LINES * LINE, N4 - 1u));
        touched |= bits & params.zero;
      }
    }
    // @unroll
    for (var i = 0u; i < TM; i++) {
      let s = subgroupShuffle(q[i / LANES], i % LANES);
      // @unroll
      for (var t = 0u; t < 4u; t++) {
        // @unroll
        for (var j = 0u; j < TV; j++) {
          sum[i * TV + j] = fma(vec4f(s[t]), p[t * TV + j], sum[i * TV + j]);
        }
      }
    }
  }
  // TS rows in one go: all of them unrolled compile for longer, with gelu for seconds.
  for (var r = row; r < min(row + TM, params.M); r += TS) {
    // @unroll
    for (var j = 0u; j < TV; j++) {
      let c = col + j * LANES + touched;
      // @unroll
      for (var i = 0u; i < TS; i++) {
        if (r + i < params.M && c < N4) {
          let at = (r + i) * ldout4 + params.out_column / 4u + c;
          let dense = (r + i) * N4 + c;
          var y = sum[i * TV + j];
          if (EPILOGUE == 1u) { y += out[at]; }
          if (EPILOGUE == 2u) { y += residual[dense]; }
          if (KEEP == 1u) { pre[dense] = y; }
          if (EPILOGUE >= 3u) { y = activation(y); }
          out[at] = y;
        }
      }
    }
    // The next rows move up to where the loop takes them.
    // @unroll
    for (var i = 0u; i < (TM - TS) * TV; i++) { sum[i] = sum[i + TS * TV]; }
  }
}

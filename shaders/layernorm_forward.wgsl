// layernorm_forward: normalise each row over its C channels, then scale and shift.
//   out = (inp - mean) rstd weight + bias,   rstd = 1 / sqrt(var + eps)
// One subgroup of LANES takes `rows` rows one after the other and keeps weight, bias and the row in
// registers: a lane holds vectors lid, lid + LANES, … V of them, V LANES >= C / 4. So a row is
// loaded once, and the variance is taken about the mean. Dispatch grid(ceil(N / rows)). C % 4 == 0.
// Reads inp (N, C), weight (C), bias (C; where flags & 1). Writes out (N, C) =, stats (N, 2) =.
const LANES: u32 = 8u;
const V: u32 = 4u;

struct Params {
  N: u32,
  C: u32,
  rows: u32,
  flags: u32, // 1: bias
  eps: f32,
  pad0: u32,
  pad1: u32,
  pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<vec4f>; // (N, C)
@group(0) @binding(2) var<storage, read> weight: array<vec4f>; // (C)
@group(0) @binding(3) var<storage, read> bias: array<vec4f>; // (C)
@group(0) @binding(4) var<storage, read_write> out: array<vec4f>; // (N, C)
@group(0) @binding(5) var<storage, read_write> stats: array<vec2f>; // (N, 2), mean and rstd

fn total(x: vec4f) -> f32 {
  return subgroupAdd(x.x + x.y + x.z + x.w);
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let C4 = params.C / 4u;
  let scale = 1.0 / f32(params.C);
  let first = (wg.y * nw.x + wg.x) * params.rows;
  var x: array<vec4f, V>;
  var w: array<vec4f, V>;
  var b: array<vec4f, V>;
  // @unroll
  for (var v = 0u; v < V; v++) {
    let c = min(v * LANES + lid.x, C4 - 1u);
    w[v] = weight[c];
    b[v] = select(vec4f(0), bias[c], (params.flags & 1u) != 0u);
  }
  for (var n = first; n < min(first + params.rows, params.N); n++) {
    let row = n * C4; // seek to inp[n, :]
    var s = vec4f(0);
    // @unroll
    for (var v = 0u; v < V; v++) {
      let c = v * LANES + lid.x;
      x[v] = inp[row + min(c, C4 - 1u)];
      s += select(vec4f(0), x[v], c < C4);
    }
    let mean = total(s) * scale;
    var q = vec4f(0);
    // @unroll
    for (var v = 0u; v < V; v++) {
      x[v] -= mean;
      q += select(vec4f(0), x[v] * x[v], v * LANES + lid.x < C4);
    }
    let rstd = inverseSqrt(total(q) * scale + params.eps);
    // @unroll
    for (var v = 0u; v < V; v++) {
      let c = v * LANES + lid.x;
      if (c < C4) { out[row + c] = x[v] * rstd * w[v] + b[v]; }
    }
    if (lid.x == 0u) { stats[n] = vec2f(mean, rstd); }
  }
}

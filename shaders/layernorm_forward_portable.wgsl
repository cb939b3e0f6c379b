// layernorm_forward_portable: layernorm_forward.wgsl without subgroups, for any C.
// One workgroup of WG_SIZE threads a row; dispatch grid(N).
// Reads inp (N, C), weight (C), bias (C; where flags & 1). Writes out (N, C) =, stats (N, 2) =.
override WG_SIZE: u32 = 32;

struct Params {
  N: u32,
  C: u32,
  rows: u32, // 1
  flags: u32, // 1: bias
  eps: f32,
  pad0: u32,
  pad1: u32,
  pad2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<f32>; // (N, C)
@group(0) @binding(2) var<storage, read> weight: array<f32>; // (C)
@group(0) @binding(3) var<storage, read> bias: array<f32>; // (C)
@group(0) @binding(4) var<storage, read_write> out: array<f32>; // (N, C)
@group(0) @binding(5) var<storage, read_write> stats: array<vec2f>; // (N, 2), mean and rstd

var<workgroup> partial: array<f32, WG_SIZE>;

// Sum over the workgroup, the same in every thread: each adds all, as barriers cost more than
// loads.
fn total(x: f32, t: u32) -> f32 {
  workgroupBarrier(); // the last sum has been read
  partial[t] = x;
  workgroupBarrier();
  var s = partial[0];
  for (var i = 1u; i < WG_SIZE; i++) { s += partial[i]; }
  return s;
}

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let n = wg.y * nw.x + wg.x;
  if (n >= params.N) { return; }
  let row = n * params.C; // seek to inp[n, :]
  let scale = 1.0 / f32(params.C);
  var s = 0.0;
  for (var c = lid.x; c < params.C; c += WG_SIZE) { s += inp[row + c]; }
  let mean = total(s, lid.x) * scale;
  var q = 0.0;
  for (var c = lid.x; c < params.C; c += WG_SIZE) {
    let d = inp[row + c] - mean;
    q += d * d;
  }
  let rstd = inverseSqrt(total(q, lid.x) * scale + params.eps);
  for (var c = lid.x; c < params.C; c += WG_SIZE) {
    var y = (inp[row + c] - mean) * rstd * weight[c];
    if ((params.flags & 1u) != 0u) { y += bias[c]; }
    out[row + c] = y;
  }
  if (lid.x == 0u) { stats[n] = vec2f(mean, rstd); }
}

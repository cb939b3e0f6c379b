// layernorm_backward_portable: layernorm_backward.wgsl without subgroups, for any C.
// One workgroup of WG_SIZE threads a chunk of `rows` rows; a thread owns channels lid,
// lid + WG_SIZE, … and adds to its own elements of `partial` row after row. Dispatch
// grid(ceil(N / rows)).
// Reads dout (N, C), inp (N, C), weight (C), stats (N, 2). Writes dinp (N, C) = or += (where
// flags & 2), partial (chunks, 2, C) = (where flags & 4).
override WG_SIZE: u32 = 32;

struct Params {
  N: u32,
  C: u32,
  rows: u32,
  flags: u32, // 1: dinp +=; 2: dinp is wanted; 4: partial is wanted
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dout: array<f32>; // (N, C)
@group(0) @binding(2) var<storage, read> inp: array<f32>; // (N, C)
@group(0) @binding(3) var<storage, read> weight: array<f32>; // (C)
@group(0) @binding(4) var<storage, read> stats: array<vec2f>; // (N, 2), mean and rstd
@group(0) @binding(5) var<storage, read_write> dinp: array<f32>; // (N, C)
@group(0) @binding(6) var<storage, read_write> partial: array<f32>; // (chunks, 2, C)

var<workgroup> sums: array<vec2f, WG_SIZE>;

// Sum over the workgroup, the same in every thread: each adds all, as barriers cost more than
// loads.
fn total(x: vec2f, t: u32) -> vec2f {
  workgroupBarrier(); // the last sum has been read
  sums[t] = x;
  workgroupBarrier();
  var s = sums[0];
  for (var i = 1u; i < WG_SIZE; i++) { s += sums[i]; }
  return s;
}

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let C = params.C;
  let scale = 1.0 / f32(C);
  let chunk = wg.y * nw.x + wg.x;
  let first = chunk * params.rows;
  if (first >= params.N) { return; }
  let to = chunk * 2u * C; // seek to partial[chunk, 0, :]
  for (var n = first; n < min(first + params.rows, params.N); n++) {
    let row = n * C; // seek to dout[n, :]
    let mean = stats[n].x;
    let rstd = stats[n].y;
    var s = vec2f(0);
    for (var c = lid.x; c < C; c += WG_SIZE) {
      let d = dout[row + c];
      let x = (inp[row + c] - mean) * rstd;
      let g = d * weight[c];
      s += vec2f(g, g * x);
      if ((params.flags & 4u) != 0u) {
        var dw = d * x;
        var db = d;
        if (n != first) {
          dw += partial[to + c];
          db += partial[to + C + c];
        }
        partial[to + c] = dw;
        partial[to + C + c] = db;
      }
    }
    if ((params.flags & 2u) == 0u) { continue; }
    let means = total(s, lid.x) * scale;
    for (var c = lid.x; c < C; c += WG_SIZE) {
      let x = (inp[row + c] - mean) * rstd;
      var y = (dout[row + c] * weight[c] - means.x - x * means.y) * rstd;
      if ((params.flags & 1u) != 0u) { y += dinp[row + c]; }
      dinp[row + c] = y;
    }
  }
}

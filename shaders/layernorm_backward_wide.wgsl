// layernorm_backward_wide: layernorm_backward for a GPU, with several subgroups a chunk, so that as
// many threads leave fewer partial sums to be added.
//   x = (inp - mean) rstd,  g = dout weight
//   dinp (=|+=) rstd (g - mean_c(g) - x mean_c(g x))
//   partial[chunk] = sums over the chunk's rows of dout x (for dweight) and dout (for dbias)
// A workgroup of GROUPS subgroups of LANES takes a chunk of `rows` rows. Subgroup k has rows k,
// k + GROUPS, … of it and keeps weight, sums and its row in registers: a lane holds vectors lane,
// lane + LANES, … V of them, V LANES >= C / 4. The subgroups' sums are added in their order.
// Dispatch grid(ceil(N / rows)); layernorm_dweight.wgsl adds up the chunks. C % 4 == 0, and
// subgroups have exactly LANES threads.
// Reads dout (N, C), inp (N, C), weight (C), stats (N, 2). Writes dinp (N, C) = or += (where
// flags & 2), partial (chunks, 2, C) = (where flags & 4).
const LANES: u32 = 8u;
const GROUPS: u32 = 4u;
const V: u32 = 4u;

struct Params {
  N: u32,
  C: u32,
  rows: u32,
  flags: u32, // 1: dinp +=; 2: dinp is wanted; 4: partial is wanted
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dout: array<vec4f>; // (N, C)
@group(0) @binding(2) var<storage, read> inp: array<vec4f>; // (N, C)
@group(0) @binding(3) var<storage, read> weight: array<vec4f>; // (C)
@group(0) @binding(4) var<storage, read> stats: array<vec2f>; // (N, 2), mean and rstd
@group(0) @binding(5) var<storage, read_write> dinp: array<vec4f>; // (N, C)
@group(0) @binding(6) var<storage, read_write> partial: array<vec4f>; // (chunks, 2, C)

var<workgroup> sums: array<vec4f, V * LANES>; // (C) of the subgroups so far

fn total(x: vec4f) -> f32 {
  return subgroupAdd(x.x + x.y + x.z + x.w);
}

@compute @workgroup_size(LANES * GROUPS)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let C4 = params.C / 4u;
  let scale = 1.0 / f32(params.C);
  let chunk = wg.y * nw.x + wg.x;
  let first = chunk * params.rows;
  if (first >= params.N) { return; }
  let end = min(first + params.rows, params.N);
  let group = lid.x / LANES;
  let lane = lid.x % LANES;
  var d: array<vec4f, V>;
  var x: array<vec4f, V>;
  var g: array<vec4f, V>;
  var w: array<vec4f, V>;
  var dw: array<vec4f, V>;
  var db: array<vec4f, V>;
  // @unroll
  for (var v = 0u; v < V; v++) {
    let c = v * LANES + lane;
    w[v] = select(vec4f(0), weight[min(c, C4 - 1u)], c < C4); // so g is 0 beyond the row's end
    dw[v] = vec4f(0);
    db[v] = vec4f(0);
  }
  // All subgroups go around equally often; one without a row left goes over the last without effect.
  for (var next = first; next < end; next += GROUPS) {
    let n = min(next + group, end - 1u);
    let counts = next + group < end;
    let row = n * C4; // seek to dout[n, :]
    let mean = stats[n].x;
    let rstd = stats[n].y;
    // @unroll
    for (var v = 0u; v < V; v++) {
      let c = row + min(v * LANES + lane, C4 - 1u);
      d[v] = dout[c];
      x[v] = inp[c];
    }
    var s = vec4f(0);
    var q = vec4f(0);
    // @unroll
    for (var v = 0u; v < V; v++) {
      d[v] = select(vec4f(0), d[v], counts);
      x[v] = (x[v] - mean) * rstd;
      g[v] = d[v] * w[v];
      s += g[v];
      q = fma(g[v], x[v], q);
      dw[v] = fma(d[v], x[v], dw[v]);
      db[v] += d[v];
    }
    if ((params.flags & 2u) == 0u) { continue; }
    let mean_g = total(s) * scale;
    let mean_gx = total(q) * scale;
    // @unroll
    for (var v = 0u; v < V; v++) {
      let c = v * LANES + lane;
      if (counts && c < C4) {
        var y = (g[v] - mean_g - x[v] * mean_gx) * rstd;
        if ((params.flags & 1u) != 0u) { y += dinp[row + c]; }
        dinp[row + c] = y;
      }
    }
  }
  if ((params.flags & 4u) == 0u) { return; }
  let to = chunk * 2u * C4; // seek to partial[chunk, 0, :]
  for (var k = 0u; k < GROUPS; k++) {
    // Both sums go through the same memory, one after the other.
    if (group == k) {
      // @unroll
      for (var v = 0u; v < V; v++) {
        let c = v * LANES + lane;
        if (k > 0u) { dw[v] += sums[c]; }
        if (k + 1u < GROUPS) { sums[c] = dw[v]; } else if (c < C4) { partial[to + c] = dw[v]; }
      }
    }
    workgroupBarrier();
  }
  for (var k = 0u; k < GROUPS; k++) {
    if (group == k) {
      // @unroll
      for (var v = 0u; v < V; v++) {
        let c = v * LANES + lane;
        if (k > 0u) { db[v] += sums[c]; }
        if (k + 1u < GROUPS) { sums[c] = db[v]; } else if (c < C4) { partial[to + C4 + c] = db[v]; }
      }
    }
    workgroupBarrier();
  }
}

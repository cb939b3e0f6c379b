// rows_add_scalar: sums rows that go to one row of a table: the gradient of an embedding or a
// gather.
//   dtable[r - start, :] += sum over the bucket of row r, in order, of dout[n, :]
// A bucket is the list of the n that chose row r. Buckets come from the host (src/ops/buckets.ts:
// one u32 tensor: count U, rows (capacity), starts (capacity + 1), members (capacity)) or, where
// flags & 1, are the arithmetic ones of positions: bucket r holds r, r + U, r + 2 U, … below N,
// with U = T. Any C. A workgroup takes a tile of TILE WG_SIZE channels and the buckets wg.y, wg.y +
// groups, …; dispatch (ceil(C / tile), groups): the groups are bounded by tokens, never by rows of
// the table. Only rows of the window start … start + window - 1 are touched. No atomics: a fixed
// order of sums.
// Reads buckets, dout (N, C). Writes dtable (window, C) +=.
const TILE: u32 = 4u;
override WG_SIZE: u32 = 32;

struct Params {
  N: u32,
  C: u32,
  T: u32,
  capacity: u32,
  start: u32,
  window: u32,
  flags: u32, // 1: positions, without a list
  pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> buckets: array<u32>; // (3 capacity + 2)
@group(0) @binding(2) var<storage, read> dout: array<f32>; // (N, C)
@group(0) @binding(3) var<storage, read_write> dtable: array<f32>; // (window, C)

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let C = params.C;
  let first = wg.x * TILE * WG_SIZE + lid.x;
  let listed = (params.flags & 1u) == 0u;
  let starts = 1u + params.capacity;
  let members = starts + params.capacity + 1u;
  var count = params.T;
  if (listed) { count = min(buckets[0], params.capacity); }
  for (var u = wg.y; u < count; u += nw.y) {
    var row = u;
    var low = 0u;
    var high = (params.N - 1u - u) / params.T + 1u; // N >= T > u
    if (listed) {
      row = buckets[1u + u];
      low = buckets[starts + u];
      high = buckets[starts + u + 1u];
    }
    row -= params.start; // wraps to a large number below the window
    if (row >= params.window) { continue; }
    var s: array<f32, TILE>;
    // @unroll
    for (var j = 0u; j < TILE; j++) { s[j] = f32(0); }
    for (var i = low; i < high; i++) {
      var n = u + i * params.T;
      if (listed) { n = buckets[members + i]; }
      let at = n * C; // seek to dout[n, :]
      // @unroll
      for (var j = 0u; j < TILE; j++) { s[j] += dout[at + min(first + j * WG_SIZE, C - 1u)]; }
    }
    // @unroll
    for (var j = 0u; j < TILE; j++) {
      let c = first + j * WG_SIZE;
      if (c < C) { dtable[row * C + c] += s[j]; }
    }
  }
}

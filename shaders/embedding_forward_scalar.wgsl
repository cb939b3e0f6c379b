// embedding_forward_scalar: rows of a table, chosen by number, plus a position's row.
//   out[n, :] = wte[ids[n], :] + wpe[position(n), :],  position(n) = n % T, or positions[n]
// Any C. A workgroup takes `rows` rows one after the other, its threads stride the channels;
// dispatch grid(ceil(N / rows)). wte is a window of the whole table, rows start … start + window -
// 1: one dispatch a window. The first writes every row (0 for a token that is not in its window),
// the later ones only the rows of their own tokens. No id and no position reads out of range.
// Both tables are kept as f32 or as f16.
// Reads ids (N), wte (window, C), wpe (Tmax, C; where flags & 2), positions (N; where flags & 4).
// Writes out (N, C) =.
override WG_SIZE: u32 = 32;

struct Params {
  N: u32,
  C: u32,
  T: u32,
  Tmax: u32,
  rows: u32,
  start: u32,
  window: u32,
  flags: u32, // 1: first window; 2: wpe; 4: positions
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>; // (N)
@group(0) @binding(2) var<storage, read> wte: array<stored>; // (window, C)
@group(0) @binding(3) var<storage, read> wpe: array<stored>; // (Tmax, C)
@group(0) @binding(4) var<storage, read> positions: array<u32>; // (N)
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // (N, C)

// @include "storage.wgsl"

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let C = params.C;
  let first = (wg.y * nw.x + wg.x) * params.rows;
  for (var n = first; n < min(first + params.rows, params.N); n++) {
    let row = ids[n] - params.start; // wraps to a large number below the window
    let inside = row < params.window;
    if (!inside && (params.flags & 1u) == 0u) { continue; }
    let chosen = select(0u, row, inside) * C; // seek to wte[row, :]
    var position = n % params.T;
    if ((params.flags & 4u) != 0u) { position = min(positions[n], params.Tmax - 1u); }
    let added = position * C; // seek to wpe[position, :]
    for (var c = lid.x; c < C; c += WG_SIZE) {
      var y = select(f32(0), number(wte[(chosen + c) / PER], chosen + c), inside);
      if ((params.flags & 2u) != 0u) { y += number(wpe[(added + c) / PER], added + c); }
      out[n * C + c] = y;
    }
  }
}

// cache_write: puts the keys and values of new tokens into their slots of the cache.
//   keys[slot(n), :] = qkv[n, 1, :],  values[slot(n), :] = qkv[n, 2, :]
// Slots come in blocks of BLOCK tokens: position t of sequence s is slot t % BLOCK of block
// table[s, t / BLOCK]. A row whose position is DEAD or beyond the table is left out.
// One thread a word of a key, which has one number kept as f32, or two as f16; C is a multiple of
// them; dispatch (ceil(C / PER / WG_SIZE), N).
// Reads qkv, positions, sequences, table. Writes the slots of the rows in keys and values =.
const BLOCK: u32 = 16u;
override WG_SIZE: u32 = 64;

struct Params {
  N: u32,
  C: u32,
  columns: u32, // of the table
  slots: u32, // of the cache
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<f32>; // (N, 3, C)
@group(0) @binding(2) var<storage, read> positions: array<u32>; // (N), DEAD: no row
@group(0) @binding(3) var<storage, read> sequences: array<u32>; // (N), rows of the table
@group(0) @binding(4) var<storage, read> table: array<u32>; // (S, columns), blocks
@group(0) @binding(5) var<storage, read_write> keys: array<stored>; // (slots, C)
@group(0) @binding(6) var<storage, read_write> values: array<stored>; // (slots, C)

// @include "storage.wgsl"

@compute @workgroup_size(WG_SIZE)
fn main(@builtin(workgroup_id) wg: vec3u, @builtin(local_invocation_id) lid: vec3u) {
  let C = params.C;
  let c = (wg.x * WG_SIZE + lid.x) * PER;
  let n = wg.y;
  if (c >= C || n >= params.N) { return; }
  let t = positions[n];
  if (t / BLOCK >= params.columns) { return; }
  let slot = table[sequences[n] * params.columns + t / BLOCK] * BLOCK + t % BLOCK;
  if (slot >= params.slots) { return; }
  let source = n * 3u * C + c; // seek to qkv[n, 0, c]
  let word = (slot * C + c) / PER;
  let last = source + PER - 1u;
  keys[word] = packed(vec2f(qkv[source + C], qkv[last + C]));
  values[word] = packed(vec2f(qkv[source + 2u * C], qkv[last + 2u * C]));
}

// decode_inputs: what the next step of some slots reads: the newest token of each text, its place.
//   ids[n] = history[slot, length - 1], positions[n] = length - 1, sequences[n] = the slot's
// Rows without a slot, or whose text has ended, are dead: id 0, position DEAD, sequence 0.
// A thread a row; dispatch grid(ceil(N / WG_SIZE)).
// Reads rows (N), slots, history. Writes ids, positions, sequences (N) =.
override WG_SIZE: u32 = 32;

struct Params {
  N: u32,
  T: u32, // ids a row of history
  pad0: u32,
  pad1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>; // (N), slots or DEAD
@group(0) @binding(2) var<storage, read> slots: array<u32>; // (S, SLOT_FIELDS)
@group(0) @binding(3) var<storage, read> history: array<u32>; // (S, T)
@group(0) @binding(4) var<storage, read_write> ids: array<u32>; // (N)
@group(0) @binding(5) var<storage, read_write> positions: array<u32>; // (N)
@group(0) @binding(6) var<storage, read_write> sequences: array<u32>; // (N)

// @include "slot.wgsl"

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let n = (wg.y * nw.x + wg.x) * WG_SIZE + lid.x;
  if (n >= params.N) { return; }
  let slot = rows[n];
  let at = slot * SLOT_FIELDS; // seek to slots[slot, :]
  if (slot == DEAD || slots[at + SLOT_STATE] != STATE_ALIVE) {
    ids[n] = 0u;
    positions[n] = DEAD;
    sequences[n] = 0u;
    return;
  }
  let last = slots[at + SLOT_LENGTH] - 1u;
  ids[n] = history[slot * params.T + last];
  positions[n] = last;
  sequences[n] = slots[at + SLOT_SEQUENCE];
}

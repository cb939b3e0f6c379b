// sample_advance: puts the chosen tokens into their texts and says so in the results.
//   history[slot, length] = id, length += 1, remaining -= 1, counts[slot, id] += 1, and the state
// A thread a row; dispatch grid(ceil(N / WG_SIZE)). Rows that nothing is wanted of are left alone.
// Reads rows, choices (N), stats (N, STATS_FIELDS), logits (N, ld). Changes slots, history, counts,
// results (N, RESULT_FIELDS).
override WG_SIZE: u32 = 32;

struct Params {
  N: u32,
  ld: u32, // columns a row of logits
  T: u32, // ids a row of history
  columns: u32, // of counts
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<u32>; // (N), slots or DEAD
@group(0) @binding(2) var<storage, read> choices: array<u32>; // (N), DEAD: all are banned
@group(0) @binding(3) var<storage, read> stats: array<u32>; // (N, STATS_FIELDS)
@group(0) @binding(4) var<storage, read> logits: array<f32>; // (N, ld)
@group(0) @binding(5) var<storage, read_write> slots: array<u32>; // (S, SLOT_FIELDS)
@group(0) @binding(6) var<storage, read_write> history: array<u32>; // (S, T)
@group(0) @binding(7) var<storage, read_write> counts: array<u32>; // (S, columns)
@group(0) @binding(8) var<storage, read_write> results: array<u32>; // (N, RESULT_FIELDS)

// @include "slot.wgsl"
// @include "result.wgsl"

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let r = (wg.y * nw.x + wg.x) * WG_SIZE + lid.x;
  if (r >= params.N) { return; }
  let base = r * STATS_FIELDS; // seek to stats[r, :]
  let live = stats[base + STATS_LIVE];
  if (live == 0u) { return; }
  let slot = rows[r];
  let s = slot * SLOT_FIELDS; // seek to slots[slot, :]
  let out = r * RESULT_FIELDS; // seek to results[r, :]
  if (live == 2u) {
    slots[s + SLOT_STATE] = STATE_FAILED;
    return;
  }
  var id = choices[r];
  if (id == DEAD) { id = stats[base + STATS_ARGMAX]; }
  let length = slots[s + SLOT_LENGTH];
  history[slot * params.T + length] = id;
  if ((slots[s + SLOT_FLAGS] & FLAG_COUNTS) != 0u) { counts[slot * params.columns + id] += 1u; }
  let remaining = slots[s + SLOT_REMAINING] - 1u;
  var state = STATE_ALIVE;
  if (length + 1u == params.T) { state = STATE_CONTEXT; }
  if (remaining == 0u) { state = STATE_LENGTH; }
  for (var j = 0u; j < slots[s + SLOT_STOPS]; j++) {
    if (slots[s + SLOT_STOP + j] == id) { state = STATE_STOP; }
  }
  slots[s + SLOT_LENGTH] = length + 1u;
  slots[s + SLOT_REMAINING] = remaining;
  slots[s + SLOT_STATE] = state;

  let top = bitcast<f32>(stats[base + STATS_TOP]);
  let log_sum = bitcast<f32>(stats[base + STATS_LOG_SUM]);
  results[out + RESULT_WRITTEN] = 1u;
  results[out + RESULT_ID] = id;
  results[out + RESULT_LOG_PROBABILITY] = bitcast<u32>(
    (logits[r * params.ld + id] - top) - log_sum,
  );
  results[out + RESULT_STATE] = state;
  results[out + RESULT_POSITION] = length;
}

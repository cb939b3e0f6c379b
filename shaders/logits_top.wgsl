// logits_top: the results of a row, but for a token that is still to be chosen: the
// log-probability of the token to score, and the most likely tokens, likeliest first, of equals the
// lowest id first.
//   log-probability of id = (logits[r, id] - top) - log_sum
// One workgroup of WG_SIZE (a power of two) a row; dispatch grid(N). A pass over the row for each
// token that is told of: the next one in this order.
// Reads logits (N, ld), stats (N, STATS_FIELDS). Writes results (N, RESULT_FIELDS) =.
override WG_SIZE: u32 = 16;

struct Params {
  N: u32,
  V: u32, // live columns
  ld: u32, // columns a row of logits, V <= ld
  pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>; // (N, ld)
@group(0) @binding(2) var<storage, read> stats: array<u32>; // (N, STATS_FIELDS)
@group(0) @binding(3) var<storage, read_write> results: array<u32>; // (N, RESULT_FIELDS)

// @include "slot.wgsl"
// @include "result.wgsl"

struct Token {
  logit: f32,
  id: u32,
}

var<workgroup> logits_of: array<f32, WG_SIZE>;
var<workgroup> ids_of: array<u32, WG_SIZE>;
var<workgroup> best: Token;

// Those columns of vector i that come after a token in the order; the others NONE.
fn after(x: vec4f, i: u32, last: Token) -> vec4f {
  let ids = ids4(i);
  let equal = (x == vec4f(last.logit)) & (ids > vec4u(last.id));
  let later = (x < vec4f(last.logit)) | equal;
  return select(vec4f(NONE), x, later & (ids < vec4u(params.V)));
}

// The first token after `last`, the same in every thread; NONE when there is no other.
fn next(lane: u32, at: u32, last: Token) -> Token {
  var top = NONE;
  var vector = DEAD;
  for (var i = lane; i < (params.V + 3u) / 4u; i += WG_SIZE) {
    let here = max4(after(logits[at + i], i, last));
    vector = select(vector, i, here > top);
    top = max(top, here);
  }
  var id = DEAD;
  if (vector != DEAD) {
    let x = after(logits[at + vector], vector, last);
    for (var c = 4u; c > 0u; c--) {
      if (x[c - 1u] == top) { id = 4u * vector + c - 1u; }
    }
  }
  logits_of[lane] = top;
  ids_of[lane] = id;
  workgroupBarrier();
  for (var half = WG_SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      let other = logits_of[lane + half];
      let lower = other == logits_of[lane] && ids_of[lane + half] < ids_of[lane];
      if (other > logits_of[lane] || lower) {
        logits_of[lane] = other;
        ids_of[lane] = ids_of[lane + half];
      }
    }
    workgroupBarrier();
  }
  if (lane == 0u) { best = Token(logits_of[0], ids_of[0]); }
  return workgroupUniformLoad(&best);
}

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let r = wg.y * nw.x + wg.x;
  if (r >= params.N) { return; }
  let base = r * STATS_FIELDS; // seek to stats[r, :]
  let out = r * RESULT_FIELDS; // seek to results[r, :]
  let at = r * (params.ld / 4u); // seek to logits[r, :]
  let live = stats[base + STATS_LIVE];
  let target_id = stats[base + STATS_TARGET];
  let top = bitcast<f32>(stats[base + STATS_TOP]);
  let log_sum = bitcast<f32>(stats[base + STATS_LOG_SUM]);
  let scored = live == 1u && target_id != DEAD;
  if (lid.x == 0u) {
    var log_probability = 0.0;
    if (scored) { log_probability = (logits[at + target_id / 4u][target_id % 4u] - top) - log_sum; }
    results[out + RESULT_WRITTEN] = select(0u, 1u, scored);
    results[out + RESULT_ID] = select(0u, target_id, scored);
    results[out + RESULT_LOG_PROBABILITY] = bitcast<u32>(log_probability);
    results[out + RESULT_STATE] = select(STATE_FREE, STATE_FAILED, live == 2u);
    results[out + RESULT_POSITION] = 0u;
  }
  let count = select(0u, min(stats[base + STATS_TOPS], MOST_TOP_TOKENS), live == 1u);
  var last = Token(-NONE, 0u);
  var told = 0u;
  for (; told < count; told++) {
    last = next(lid.x, at, last);
    if (last.logit <= NONE) { break; }
    if (lid.x == 0u) {
      results[out + RESULT_TOP_IDS + told] = last.id;
      results[out + RESULT_TOP_LOG_PROBABILITIES + told] = bitcast<u32>(
        (last.logit - top) - log_sum,
      );
    }
  }
  if (lid.x == 0u) { results[out + RESULT_TOP] = told; }
}

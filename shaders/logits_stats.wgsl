// logits_stats: what is needed of each row of raw logits: the largest, its lowest id, the sum of
// the softmax, the smallest finite one, and whether all are numbers (-inf is one).
//   top = max of logits[r, :V],  log_sum = log(sum of exp(logits[r, :V] - top))
// One workgroup of WG_SIZE (a power of two) a row; dispatch grid(N). One pass: an online maximum
// and sum a thread, which meet in a tree. Nothing is read of a row that nothing is wanted of.
// Reads logits (N, ld), rows (N), fields. Writes stats (N, STATS_FIELDS) =.
// ld is a multiple of 4.
const SCORE: u32 = 0u; // 1: rows are tokens to score, fields (N) how many of the likeliest to tell
const UNROLL: u32 = 4u; // independent loads of a thread
override WG_SIZE: u32 = 16;

struct Params {
  N: u32,
  V: u32, // live columns
  ld: u32, // columns a row of logits, V <= ld
  pad0: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>; // (N, ld)
@group(0) @binding(2) var<storage, read> rows: array<u32>; // (N), slots or DEAD
@group(0) @binding(3) var<storage, read> fields: array<u32>; // (S, SLOT_FIELDS)
@group(0) @binding(4) var<storage, read_write> stats: array<u32>; // (N, STATS_FIELDS)

// @include "slot.wgsl"

var<workgroup> highs: array<f32, WG_SIZE>;
var<workgroup> lows: array<f32, WG_SIZE>;
var<workgroup> words: array<u32, WG_SIZE>;
var<workgroup> wrong: array<u32, WG_SIZE>;

struct Share {
  top: f32, // maximum of this thread's columns so far
  sum: f32, // of exp(x - top) over them
  at: u32, // vector that the maximum was found in first, or the first of UNROLL of them
  low: f32, // smallest above NONE
  most: vec4i, // largest bits as i32: from those of +inf on, an element is +inf or NaN
  last: vec4u, // largest bits as u32: above those of -inf, an element is NaN
}

// Takes some vectors in; `top` is the element-wise maximum of them.
fn look(s: ptr<function, Share>, top: f32, i: u32) {
  (*s).at = select((*s).at, i, top > (*s).top);
  let higher = max((*s).top, top);
  (*s).sum *= exp((*s).top - higher);
  (*s).top = higher;
}

fn watch(s: ptr<function, Share>, x: vec4f) {
  (*s).low = min((*s).low, min4(select(vec4f(-NONE), x, x > vec4f(NONE))));
  (*s).most = max((*s).most, bitcast<vec4i>(x));
  (*s).last = max((*s).last, bitcast<vec4u>(x));
}

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let r = wg.y * nw.x + wg.x;
  if (r >= params.N) { return; }
  let row = rows[r];
  let out = r * STATS_FIELDS; // seek to stats[r, :]
  var wanted = row < params.V;
  if (SCORE == 0u) {
    wanted = row != DEAD;
    if (wanted) { wanted = fields[row * SLOT_FIELDS + SLOT_STATE] == STATE_ALIVE; }
  }
  if (!wanted) {
    if (lid.x == 0u) {
      stats[out + STATS_LIVE] = 0u;
      stats[out + STATS_TOPS] = 0u;
    }
    return;
  }
  let lane = lid.x;
  let at = r * (params.ld / 4u); // seek to logits[r, :]
  let full4 = params.V / 4u; // vectors without a padded column
  let live4 = (params.V + 3u) / 4u;

  var s = Share(NONE, 0.0, lane, -NONE, vec4i(-2147483647), vec4u(0));
  var x: array<vec4f, UNROLL>;
  var i = lane;
  for (; i + (UNROLL - 1u) * WG_SIZE < full4; i += UNROLL * WG_SIZE) {
    // @unroll
    for (var u = 0u; u < UNROLL; u++) { x[u] = logits[at + i + u * WG_SIZE]; }
    // @unroll
    for (var u = 0u; u < UNROLL; u++) { watch(&s, x[u]); }
    var top = max(x[0], vec4f(NONE));
    // @unroll
    for (var u = 1u; u < UNROLL; u++) { top = max(top, x[u]); }
    look(&s, max4(top), i);
    var part = vec4f(0);
    // @unroll
    for (var u = 0u; u < UNROLL; u++) { part += exp(max(x[u], vec4f(NONE)) - s.top); }
    s.sum += sum4(part);
  }
  for (; i < live4; i += WG_SIZE) {
    let live = ids4(i) < vec4u(params.V);
    let rest = select(vec4f(NONE), logits[at + i], live);
    watch(&s, rest);
    look(&s, max4(max(rest, vec4f(NONE))), i);
    s.sum += sum4(select(vec4f(0), exp(max(rest, vec4f(NONE)) - s.top), live));
  }

  highs[lane] = s.top;
  lows[lane] = s.low;
  wrong[lane] = select(
    0u,
    1u,
    any(s.most >= vec4i(0x7f800000)) || any(s.last > vec4u(0xff800000u)),
  );
  workgroupBarrier();
  for (var half = WG_SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      highs[lane] = max(highs[lane], highs[lane + half]);
      lows[lane] = min(lows[lane], lows[lane + half]);
      wrong[lane] |= wrong[lane + half];
    }
    workgroupBarrier();
  }
  let top = highs[0];
  let low = lows[0];
  let numbers = wrong[0] == 0u;
  workgroupBarrier();

  // The largest is in the vectors that `at` names, if this thread has it: its first column there.
  var first = DEAD;
  if (s.top == top) {
    for (var u = 0u; u < UNROLL && first == DEAD; u++) {
      let v = s.at + u * WG_SIZE;
      if (v >= live4) { break; }
      let y = logits[at + v];
      let ids = ids4(v);
      for (var c = 0u; c < 4u && first == DEAD; c++) {
        if (ids[c] < params.V && y[c] == top) { first = ids[c]; }
      }
    }
  }
  words[lane] = first;
  highs[lane] = s.sum * exp(s.top - top);
  workgroupBarrier();
  for (var half = WG_SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      words[lane] = min(words[lane], words[lane + half]);
      highs[lane] += highs[lane + half];
    }
    workgroupBarrier();
  }
  if (lane != 0u) { return; }
  stats[out + STATS_LIVE] = select(2u, 1u, numbers && top > NONE);
  stats[out + STATS_TOP] = bitcast<u32>(top);
  stats[out + STATS_LOG_SUM] = bitcast<u32>(log(highs[0]));
  stats[out + STATS_ARGMAX] = words[0];
  stats[out + STATS_LOWEST] = bitcast<u32>(low);
  if (SCORE == 1u) {
    stats[out + STATS_TOPS] = fields[r];
    stats[out + STATS_TARGET] = row;
  } else {
    stats[out + STATS_TOPS] = fields[row * SLOT_FIELDS + SLOT_TOP];
    stats[out + STATS_TARGET] = DEAD;
  }
}

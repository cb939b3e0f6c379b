// sample: chooses a token for each row that is wanted: greedy, or by Philox among what temperature,
// top-k, top-p and min-p leave.
//   kept = x > cut, or x == cut and id < limit: each cut keeps a beginning of one order, likeliest
//   first and of equals the lowest id first, so that the strictest is all that counts
//   w = exp((x - top) / temperature);  the id whose part of [0, sum of w over the kept), in the
//   order of ids, holds u times that sum
// One workgroup of WG_SIZE (a power of two) a row; dispatch grid(N). Runs twice: over the logits,
// for rows whose slot leaves them as they are, and over those that logits_adjust made.
// The cut of top-k and top-p is searched between two values, of which the lower keeps enough and
// the higher too little: four values between them a pass, apart by value and by bits in turn, until
// few tokens are left to be sorted.
// Reads logits (N, ld), rows (N), slots, stats (N, STATS_FIELDS). Writes choices (N) =, DEAD when
// all tokens are banned.
// ld is a multiple of 4.
override WG_SIZE: u32 = 16;

struct Params {
  N: u32,
  V: u32, // live columns
  ld: u32, // columns a row of logits, V <= ld
  adjusted: u32, // 1: the logits are adjusted ones
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>; // (N, ld)
@group(0) @binding(2) var<storage, read> rows: array<u32>; // (N), slots or DEAD
@group(0) @binding(3) var<storage, read> slots: array<u32>; // (S, SLOT_FIELDS)
@group(0) @binding(4) var<storage, read> stats: array<u32>; // (N, STATS_FIELDS)
@group(0) @binding(5) var<storage, read_write> choices: array<u32>; // (N)

// @include "slot.wgsl"
// @include "philox.wgsl"

const SAMPLING = 0x73616d70u; // third word of the counter, as in src/infer/sampler.ts
const FEW: u32 = 256u; // so many tokens are sorted rather than searched
const MOST_PASSES = 64u; // never reached: every second one leaves a fifth of the bits between

// What is above each of four values: the sum of the weights and the number of tokens.
struct Above {
  mass: vec4f,
  count: vec4f, // whole, below 2^24
}

var<workgroup> masses: array<vec4f, WG_SIZE>;
var<workgroup> counts: array<vec4f, WG_SIZE>;
var<workgroup> found: Above;

// A token up to which, in their order, tokens are kept, and what they are together.
struct Last {
  logit: f32,
  id: u32,
  mass: f32,
  count: f32,
}

var<workgroup> listed: atomic<u32>;
var<workgroup> few: array<f32, FEW>;
var<workgroup> few_ids: array<u32, FEW>;
var<workgroup> ranked: array<u32, FEW>;
var<workgroup> last: Last;

var<private> lane: u32;
var<private> at: u32; // of logits[r, 0], in vectors
var<private> live4: u32; // vectors with a live column
var<private> top: f32;
var<private> inverse: f32; // of the temperature
var<private> deepest: f32; // so far below the top a weight is 0 in f32: no product is infinite
var<private> cut: f32;
var<private> limit: u32;

fn row(i: u32) -> vec4f {
  return select(vec4f(NONE), logits[at + i], ids4(i) < vec4u(params.V));
}

fn weigh(x: vec4f) -> vec4f {
  return select(vec4f(0), exp(max(x - top, vec4f(deepest)) * inverse), x > vec4f(NONE));
}

fn meet(mine: Above) -> Above {
  masses[lane] = mine.mass;
  counts[lane] = mine.count;
  workgroupBarrier();
  for (var half = WG_SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      masses[lane] += masses[lane + half];
      counts[lane] += counts[lane + half];
    }
    workgroupBarrier();
  }
  if (lane == 0u) { found = Above(masses[0], counts[0]); }
  return workgroupUniformLoad(&found);
}

fn above(t: vec4f) -> Above {
  var sum = Above(vec4f(0), vec4f(0));
  for (var i = lane; i < live4; i += WG_SIZE) {
    let x = row(i);
    let w = weigh(x);
    // @unroll
    for (var c = 0u; c < 4u; c++) {
      let higher = vec4f(x[c]) > t;
      sum.mass += select(vec4f(0), vec4f(w[c]), higher);
      sum.count += select(vec4f(0), vec4f(1), higher);
    }
  }
  return meet(sum);
}

// How many tokens of this very logit have ids below each of four.
fn equals(value: f32, ids: vec4u) -> vec4f {
  var sum = Above(vec4f(0), vec4f(0));
  for (var i = lane; i < live4; i += WG_SIZE) {
    let same = row(i) == vec4f(value);
    for (var c = 0u; c < 4u; c++) {
      sum.count += select(vec4f(0), vec4f(1), vec4<bool>(same[c]) & (vec4u(4u * i + c) < ids));
    }
  }
  return meet(sum).count;
}

// Unsigned integers in the order of the floats, and back.
fn order(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

fn value(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, (key >> 31u) == 1u));
}

fn value4(keys: vec4u) -> vec4f {
  return vec4f(value(keys.x), value(keys.y), value(keys.z), value(keys.w));
}

// Four keys between two, more than one apart; above `least`, where that is possible.
fn between(low: u32, least: u32, high: u32, by_value: bool) -> vec4u {
  let base = select(low, least, least > low && least < high);
  let width = high - base;
  var keys = vec4u(base) + select(
    vec4u(width / 5u) * vec4u(1, 2, 3, 4),
    vec4u(1, 2, 3, 4),
    width < 20u,
  );
  if (by_value) {
    let first = value(base);
    let step = value(high) / 5.0 - first / 5.0;
    for (var j = 0u; j < 4u; j++) { keys[j] = order(first + f32(j + 1u) * step); }
  }
  return clamp(keys, vec4u(low + 1u), vec4u(high - 1u));
}

// The lowest id limit that keeps `count` of the tokens of this very logit, which has as many.
fn limit_of(logit: f32, count: f32) -> u32 {
  var low = 0u; // keeps too few
  var high = params.V; // keeps enough
  while (high - low > 1u) {
    let ids = between(low, low, high, false);
    let kept = equals(logit, ids);
    for (var j = 0u; j < 4u; j++) {
      if (kept[j] >= count) { high = min(high, ids[j]); } else { low = max(low, ids[j]); }
    }
  }
  return high;
}

// Whether the columns of vector i are kept so far.
fn inside(x: vec4f, i: u32) -> vec4<bool> {
  let equal = (x == vec4f(cut)) & (ids4(i) < vec4u(limit));
  return (x > vec4f(cut)) | equal;
}

// The last token that is kept, found among few: those kept so far whose logits are above `low` and
// not above `high`, n of them; mass and count of those that are higher. They are listed, put in
// order and added up.
fn last_of(low: f32, high: f32, n: u32, higher: vec2f, goal: f32, by_mass: bool) -> Last {
  if (lane == 0u) { atomicStore(&listed, 0u); }
  workgroupBarrier();
  for (var i = lane; i < live4; i += WG_SIZE) {
    let x = row(i);
    let here = inside(x, i) & (x > vec4f(low)) & (x <= vec4f(high));
    var rest = dot(select(vec4u(0), vec4u(1, 2, 4, 8), here), vec4u(1));
    while (rest != 0u) {
      let c = firstTrailingBit(rest);
      let e = min(atomicAdd(&listed, 1u), FEW - 1u);
      few[e] = x[c];
      few_ids[e] = 4u * i + c;
      rest &= rest - 1u;
    }
  }
  workgroupBarrier();
  // Who wrote first is not said: the order is made anew, so that it is always the same.
  for (var e = lane; e < n; e += WG_SIZE) {
    var rank = 0u;
    for (var other = 0u; other < n; other++) {
      let equal = few[other] == few[e] && few_ids[other] < few_ids[e];
      rank += select(0u, 1u, equal || few[other] > few[e]);
    }
    ranked[rank] = e;
  }
  workgroupBarrier();
  if (lane == 0u) {
    var mass = higher.x;
    var count = higher.y;
    var e = 0u;
    for (var rank = 0u; rank < n; rank++) {
      e = ranked[rank];
      mass += weigh(vec4f(few[e])).x;
      count += 1.0;
      if (select(count, mass, by_mass) >= goal) { break; }
    }
    last = Last(few[e], few_ids[e], mass, count);
  }
  return workgroupUniformLoad(&last);
}

// Sets cut and limit by top-k, then by top-p of what top-k leaves.
fn cut_off(top_k: u32, top_p: f32, lowest: f32, highest: f32) {
  let least = order(lowest);
  var start = order(NONE); // below all that is kept so far
  var keys = between(start, least, order(highest), true);
  keys.x = start;
  var sum = above(value4(keys));
  var mass = sum.mass.x; // of what is kept so far
  var count = sum.count.x;
  for (var stage = 0u; stage < 2u; stage++) {
    let by_mass = stage == 1u;
    let goal = select(f32(top_k), top_p * mass, by_mass);
    if (select(top_k == 0u || goal >= count, top_p >= 1.0, by_mass)) { continue; }
    var low = start; // above it is enough: so many tokens, of this weight
    var low_count = count;
    var low_mass = mass;
    var high = order(highest); // above it is too little
    var high_count = 0.0;
    var high_mass = 0.0;
    for (var turn = 0u; turn < MOST_PASSES; turn++) {
      for (var j = 0u; j < 4u; j++) {
        let enough = select(sum.count[j], sum.mass[j], by_mass) >= goal;
        if (enough && keys[j] > low) {
          low = keys[j];
          low_count = sum.count[j];
          low_mass = sum.mass[j];
        }
        if (!enough && keys[j] < high) {
          high = keys[j];
          high_count = sum.count[j];
          high_mass = sum.mass[j];
        }
      }
      if (high - low <= 1u || low_count - high_count <= f32(FEW)) { break; }
      if (select(low_count, low_mass, by_mass) == goal) { break; }
      keys = between(low, least, high, turn % 2u == 1u);
      sum = above(value4(keys));
    }
    if (select(low_count, low_mass, by_mass) == goal) {
      // Exactly those above low.
      if (low != start) {
        cut = value(low);
        limit = 0u;
      }
      mass = low_mass;
      count = low_count;
      start = low;
      continue;
    }
    let n = low_count - high_count;
    if (n <= f32(FEW)) {
      let from_ = select(value(low), NONE, low == start); // what is kept is above that anyway
      let end = last_of(from_, value(high), u32(n), vec2f(high_mass, high_count), goal, by_mass);
      cut = end.logit;
      limit = end.id + 1u;
      mass = end.mass;
      count = end.count;
    } else {
      // Many tokens have the logit that crosses the line.
      cut = value(high);
      let each = weigh(vec4f(cut)).x;
      let short = select(goal - high_count, ceil((goal - high_mass) / each), by_mass);
      let wanted = clamp(short, 1.0, n);
      limit = limit_of(cut, wanted);
      count = high_count + wanted;
      mass = high_mass + wanted * each;
    }
    start = order(cut) - 1u;
  }
}

// Weights of vector i, 0 for what is cut off.
fn kept(i: u32) -> vec4f {
  let x = row(i);
  return select(vec4f(0), weigh(x), inside(x, i));
}

// The token that holds the number in [0, 1): the row in WG_SIZE parts, then that part in as many.
fn draw(number: f32) -> u32 {
  var first = 0u; // of the vectors that hold it
  var end = (params.V + 3u) / 4u;
  var goal = 0.0;
  var length = end;
  for (var level = 0u; length > 1u || level == 0u; level++) {
    length = (length + WG_SIZE - 1u) / WG_SIZE;
    let begin = first + lane * length;
    var sum = 0.0;
    for (var i = begin; i < min(begin + length, end); i++) { sum += sum4(kept(i)); }
    workgroupBarrier();
    masses[lane].x = sum;
    workgroupBarrier();
    if (level == 0u) {
      for (var l = 0u; l < WG_SIZE; l++) { goal += masses[l].x; }
      goal *= number;
    }
    var before = 0.0; // the sum of the parts before
    var part = 0u; // the last one that has any, if rounding leaves the goal beyond all
    var start = 0.0;
    for (var l = 0u; l < WG_SIZE; l++) {
      let here = masses[l].x;
      if (here > 0.0) {
        part = l;
        start = before;
        if (goal < before + here) { break; }
        before += here;
      }
    }
    goal -= start;
    first += part * length;
    end = min(first + length, end);
  }
  let w = kept(first);
  var id = DEAD;
  var before = 0.0;
  for (var c = 0u; c < 4u; c++) {
    if (w[c] > 0.0) {
      id = 4u * first + c;
      before += w[c];
      if (goal < before) { break; }
    }
  }
  return id;
}

@compute @workgroup_size(WG_SIZE)
fn main(
  @builtin(workgroup_id) wg: vec3u,
  @builtin(num_workgroups) nw: vec3u,
  @builtin(local_invocation_id) lid: vec3u,
) {
  let r = wg.y * nw.x + wg.x;
  if (r >= params.N) { return; }
  let slot = rows[r];
  if (slot == DEAD) { return; }
  let s = slot * SLOT_FIELDS; // seek to slots[slot, :]
  let changed = slots[s + SLOT_FLAGS] != 0u || slots[s + SLOT_NGRAM] != 0u;
  if (slots[s + SLOT_STATE] != STATE_ALIVE || changed != (params.adjusted == 1u)) { return; }
  let base = r * STATS_FIELDS; // seek to stats[r, :]
  if (stats[base + STATS_LIVE] != 1u) { return; }
  top = bitcast<f32>(stats[base + STATS_TOP]);
  let temperature = bitcast<f32>(slots[s + SLOT_TEMPERATURE]);
  if (temperature == 0.0 || top <= NONE) {
    if (lid.x == 0u) { choices[r] = select(DEAD, stats[base + STATS_ARGMAX], top > NONE); }
    return;
  }
  lane = lid.x;
  at = r * (params.ld / 4u);
  live4 = (params.V + 3u) / 4u;
  inverse = 1.0 / temperature;
  deepest = -200.0 * temperature;
  cut = NONE;
  limit = 0u;
  let top_k = slots[s + SLOT_TOP_K];
  let top_p = bitcast<f32>(slots[s + SLOT_TOP_P]);
  if (top_k > 0u || top_p < 1.0) {
    let lowest = bitcast<f32>(stats[base + STATS_LOWEST]);
    cut_off(top_k, top_p, lowest, bitcast<f32>(stats[base + STATS_TOP]));
  }
  let min_p = bitcast<f32>(slots[s + SLOT_MIN_P]);
  if (min_p > 0.0) {
    let least = min(top, top + temperature * log(min_p));
    if (least > cut) {
      cut = least;
      limit = params.V;
    }
  }
  let words = philox4x32(
    vec4u(slots[s + SLOT_CHOICE], slots[s + SLOT_LENGTH], SAMPLING, 0u),
    vec2u(slots[s + SLOT_SEED], slots[s + SLOT_SEED + 1u]),
  );
  let id = draw(philox_uniform(words).x);
  if (lane == 0u) { choices[r] = id; }
}

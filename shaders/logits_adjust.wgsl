// logits_adjust: the logits that a token is chosen from, for rows whose slot changes them.
//   y = x + bias;  y = y > 0 ? y / repetition : y repetition, for tokens in the text;
//   y -= times written * frequency + (written ? presence : 0);
//   y = NONE for tokens that would end an n-gram that is in the text.
// One workgroup of WG_SIZE (a power of two) a row; dispatch grid(N). Other rows are left alone.
// Reads logits (N, ld), rows (N), slots, history, counts, bias. Writes adjusted (N, ld) =, padding
// NONE, and peaks (N, STATS_FIELDS) =: top, argmax and lowest of them.
override WG_SIZE: u32 = 16;

struct Params {
  N: u32,
  V: u32, // live columns
  ld: u32, // columns a row of logits, V <= ld
  T: u32, // ids a row of history
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>; // (N, ld)
@group(0) @binding(2) var<storage, read> rows: array<u32>; // (N), slots or DEAD
@group(0) @binding(3) var<storage, read> slots: array<u32>; // (S, SLOT_FIELDS)
@group(0) @binding(4) var<storage, read> history: array<u32>; // (S, T)
@group(0) @binding(5) var<storage, read> counts: array<vec4u>; // (S, V rounded up to 4)
@group(0) @binding(6) var<storage, read> bias: array<vec4f>; // (S, V rounded up to 4)
@group(0) @binding(7) var<storage, read_write> adjusted: array<vec4f>; // (N, ld)
@group(0) @binding(8) var<storage, read_write> peaks: array<u32>; // (N, STATS_FIELDS)

// @include "slot.wgsl"

var<workgroup> highs: array<f32, WG_SIZE>;
var<workgroup> lows: array<f32, WG_SIZE>;
var<workgroup> firsts: array<u32, WG_SIZE>;

fn setting(at: u32) -> f32 {
  return bitcast<f32>(slots[at]);
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
  let flags = slots[s + SLOT_FLAGS];
  let ngram = slots[s + SLOT_NGRAM];
  if (slots[s + SLOT_STATE] != STATE_ALIVE || (flags == 0u && ngram == 0u)) { return; }
  let lane = lid.x;
  let at = r * (params.ld / 4u); // seek to logits[r, :]
  let live4 = (params.V + 3u) / 4u;
  let base = slot * live4; // seek to counts[slot, :]
  let repetition = setting(s + SLOT_REPETITION);
  let frequency = setting(s + SLOT_FREQUENCY);
  let presence = setting(s + SLOT_PRESENCE);

  for (var i = lane; i < live4; i += WG_SIZE) {
    let raw = logits[at + i];
    var y = raw;
    if ((flags & FLAG_BIAS) != 0u) { y += bias[base + i]; }
    if ((flags & FLAG_COUNTS) != 0u) {
      let count = counts[base + i];
      let penalised = select(y * repetition, y / repetition, y > vec4f(0));
      y = select(y, penalised, count != vec4u(0));
      let written = vec4f(count & vec4u(0x7fffffffu));
      y -= written * frequency + min(written, vec4f(1)) * presence;
    }
    let open = (ids4(i) < vec4u(params.V)) & (raw > vec4f(NONE));
    adjusted[at + i] = select(vec4f(NONE), clamp(y, vec4f(NONE), vec4f(-NONE)), open);
  }
  storageBarrier();

  // Where the last ngram - 1 ids of the text were before, what followed them then is banned.
  let text = slot * params.T; // seek to history[slot, :]
  let length = slots[s + SLOT_LENGTH];
  let newest = text + length + 1u - ngram; // the first of those ids
  if (ngram > 0u) {
    for (var i = lane; i + ngram <= length; i += WG_SIZE) {
      var same = 0u;
      for (; same + 1u < ngram; same++) {
        if (history[text + i + same] != history[newest + same]) { break; }
      }
      if (same + 1u == ngram) {
        let banned = history[text + i + same];
        if (banned < params.V) { adjusted[at + banned / 4u][banned % 4u] = NONE; }
      }
    }
  }
  storageBarrier();

  var top = NONE;
  var low = -NONE;
  var vector = DEAD;
  for (var i = lane; i < live4; i += WG_SIZE) {
    let y = adjusted[at + i];
    let here = max4(y);
    vector = select(vector, i, here > top);
    top = max(top, here);
    low = min(low, min4(select(vec4f(-NONE), y, y > vec4f(NONE))));
  }
  highs[lane] = top;
  lows[lane] = low;
  workgroupBarrier();
  for (var half = WG_SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      highs[lane] = max(highs[lane], highs[lane + half]);
      lows[lane] = min(lows[lane], lows[lane + half]);
    }
    workgroupBarrier();
  }
  var first = DEAD;
  if (vector != DEAD && top == highs[0]) {
    let y = adjusted[at + vector];
    for (var c = 4u; c > 0u; c--) {
      if (y[c - 1u] == top) { first = 4u * vector + c - 1u; }
    }
  }
  firsts[lane] = first;
  workgroupBarrier();
  for (var half = WG_SIZE / 2u; half > 0u; half /= 2u) {
    if (lane < half) { firsts[lane] = min(firsts[lane], firsts[lane + half]); }
    workgroupBarrier();
  }
  if (lane != 0u) { return; }
  let out = r * STATS_FIELDS; // seek to peaks[r, :]
  peaks[out + STATS_LIVE] = 1u;
  peaks[out + STATS_TOP] = bitcast<u32>(highs[0]);
  peaks[out + STATS_ARGMAX] = firsts[0];
  peaks[out + STATS_LOWEST] = bitcast<u32>(lows[0]);
}

// slot: the words of a slot, as src/ops/slots.ts has them; for `// @include "slot.wgsl"`.
const DEAD = 0xffffffffu; // a row without a slot, or a token that is none
const SLOT_FIELDS = 24u;
const SLOT_STATE = 0u;
const SLOT_LENGTH = 1u;
const SLOT_SEQUENCE = 2u;
const SLOT_REMAINING = 3u;
const SLOT_SEED = 4u; // two words
const SLOT_CHOICE = 6u;
const SLOT_TOP = 7u;
const SLOT_TEMPERATURE = 8u;
const SLOT_TOP_K = 9u;
const SLOT_TOP_P = 10u;
const SLOT_MIN_P = 11u;
const SLOT_REPETITION = 12u;
const SLOT_FREQUENCY = 13u;
const SLOT_PRESENCE = 14u;
const SLOT_NGRAM = 15u;
const SLOT_FLAGS = 16u;
const SLOT_STOPS = 17u;
const SLOT_STOP = 18u; // up to four words

const STATE_FREE = 0u;
const STATE_ALIVE = 1u;
const STATE_STOP = 2u;
const STATE_LENGTH = 3u;
const STATE_CONTEXT = 4u;
const STATE_FAILED = 5u;

const FLAG_COUNTS = 1u;
const FLAG_BIAS = 2u;

// What logits_stats and logits_adjust say of a row of logits.
const STATS_FIELDS = 8u;
const STATS_LIVE = 0u; // 0: nothing is wanted of the row; 1: it is; 2: it is, and is not numbers
const STATS_TOP = 1u; // f32, the largest
const STATS_LOG_SUM = 2u; // f32, log of the sum of exp(x - largest); of raw logits only
const STATS_ARGMAX = 3u; // the lowest id of the largest
const STATS_LOWEST = 4u; // f32, the smallest that can be chosen
const STATS_TOPS = 5u; // how many of the most likely tokens to tell of
const STATS_TARGET = 6u; // the token to score, DEAD where one is to be chosen

// A logit that cannot be chosen; any that is lower, as -inf, is taken for it.
const NONE = -3.4028235e38;

fn max4(x: vec4f) -> f32 {
  return max(max(x.x, x.y), max(x.z, x.w));
}

fn min4(x: vec4f) -> f32 {
  return min(min(x.x, x.y), min(x.z, x.w));
}

fn sum4(x: vec4f) -> f32 {
  return (x.x + x.y) + (x.z + x.w);
}

// Ids of the columns of vector i.
fn ids4(i: u32) -> vec4u {
  return vec4u(4u * i) + vec4u(0, 1, 2, 3);
}

/**
 * What bars show: labels by one of their scores, answers by their votes.
 *
 * @module
 */

/** @typedef {import("../schemas/few_shot.ts").FewShotClass} FewShotClass */
/** @typedef {FewShotClass["scores"][number]} Score */
/** @typedef {import("../schemas/cot.ts").CotVotes} CotVotes */

/**
 * A way to compare labels, as the API calls it.
 *
 * @typedef {"none" | "char" | "byte" | "token" | "unconditional" | "calibrated"} Normalization
 */

/**
 * A bar.
 *
 * @typedef {object} Bar
 * @property {string} name
 * @property {number} share of the whole, from 0 to 1
 * @property {boolean} isBest
 * @property {string} detail
 */

/** @type {Readonly<Record<Normalization, (score: Score) => number | null>>} */
const SCORES = {
  none: (score) => score.logprob,
  char: (score) => score.per_char,
  byte: (score) => score.per_byte,
  token: (score) => score.per_token,
  unconditional: (score) => score.pmi,
  calibrated: ({ calibrated_prob: share }) =>
    share === null ? null : Math.log(Math.max(share, 1e-12)),
};

/**
 * Bars of labels, the likeliest first. The answer of the API has all scores, so another way to
 * compare needs no other request.
 *
 * @param {readonly Score[]} scores
 * @param {Normalization} normalization
 * @returns {Bar[]} none where the answer lacks that score
 */
export function labelBars(scores, normalization) {
  const values = scores.map((score) => SCORES[normalization](score));
  if (values.some((value) => value === null)) return [];
  const shares = softmax(values.map((value) => value ?? 0));
  return scores
    .map((score, index) => ({
      name: score.label,
      share: shares[index] ?? 0,
      isBest: false,
      detail: `${fixed(score.logprob)} over ${count(score.tokens, "token")}` +
        (score.is_greedy ? ", what the model would write" : ""),
    }))
    .sort((a, b) => b.share - a.share)
    .map((bar, index) => ({ ...bar, isBest: index === 0 }));
}

/**
 * Bars of answers, the leading one first.
 *
 * @param {CotVotes["votes"]} votes
 * @returns {Bar[]}
 */
export function voteBars(votes) {
  return votes.map(({ answer, count: votesOf, weight }, index) => ({
    name: answer,
    share: Math.min(1, Math.max(0, weight)),
    isBest: index === 0,
    detail: count(votesOf, "vote"),
  }));
}

/**
 * Shares that are proportional to e to each value.
 *
 * @param {readonly number[]} values
 * @returns {number[]}
 */
export function softmax(values) {
  const highest = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - highest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/**
 * "1 vote", "2 votes".
 *
 * @param {number} number
 * @param {string} noun
 * @returns {string}
 */
export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/**
 * A number with two digits and a true minus sign.
 *
 * @param {number} value
 * @returns {string}
 */
export function fixed(value) {
  return value.toFixed(2).replace("-", "−");
}

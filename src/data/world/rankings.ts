/**
 * Simulated labelers: they rank responses by their gold score, and err.
 *
 * A labeler adds to the score of each response a draw of Gumbel's distribution times the labeler's
 * noise s, and ranks by the sums. That is Plackett and Luce's model, in which a response beats
 * another with probability 1 / (1 + e^(-d / s)), d the difference of their scores: so the best that
 * any model can do on held-out pairs is known. Responses of one score are ties.
 *
 * Source: R. L. Plackett, "The Analysis of Permutations", 1975; its noise is Gumbel's by J. I.
 * Yellott, "The relationship between Luce's Choice Axiom, Thurstone's Theory of Comparative
 * Judgment, and the double exponential distribution", 1977.
 *
 * @module
 */
import { Draw } from "./draw.ts";
import type { RankedSamples, WorldItem } from "./types.ts";

/** Noise s of each labeler, in units of the gold score, which is from 0 to 1. */
export const LABELER_NOISE = [0.02, 0.03, 0.04, 0.05, 0.06] as const;

/** Draws of rankings, apart from those of the item. */
const RANKING = 1;

/**
 * The probability that a labeler prefers the first.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals(preference(0.5, 0.5, 0.05), 0.5);
 * ```
 */
export function preference(gold: number, other: number, noise: number): number {
  return 1 / (1 + Math.exp(-(gold - other) / noise));
}

/**
 * Ranks responses to an item, by one labeler of those above. The same item and number of responses
 * have the same labeler and the same noise.
 *
 * @throws {RangeError} On less than two responses.
 */
export function rankSamples(item: WorldItem, responses: readonly string[]): RankedSamples {
  if (responses.length < 2) {
    throw new RangeError(`Cannot rank responses: want 2 or more: got ${responses.length}`);
  }
  const draw = new Draw(item.family, item, RANKING);
  const labeler = draw.between(0, LABELER_NOISE.length - 1);
  const noise = LABELER_NOISE[labeler]!;
  // Rounded, so that scores which are one number in the mind are one here.
  const gold = responses.map((response) => Math.round(item.grade(response).gold * 1e9) / 1e9);
  const gumbels = responses.map(() => -Math.log(-Math.log(draw.uniform() + 2 ** -25)));
  // Responses of one score are judged as one.
  const judged = gold.map((score) => score + noise * gumbels[gold.indexOf(score)]!);
  const ranks = judged.map((score) => 1 + new Set(judged.filter((other) => other > score)).size);
  let [pairs, expectedRight] = [0, 0];
  for (let i = 0; i < responses.length; i++) {
    for (let j = 0; j < i; j++) {
      if (ranks[i] === ranks[j] || responses[i]!.trim() === responses[j]!.trim()) continue;
      pairs++;
      const first = preference(gold[i]!, gold[j]!, noise);
      expectedRight += Math.max(first, 1 - first);
    }
  }
  const { prompt } = item;
  return { prompt, completions: [...responses], ranks, gold, labeler, pairs, expectedRight };
}

/**
 * The noise ceiling: the share of pairs that who knows the gold scores gets right on average; no
 * reward model does better but by luck.
 *
 * @throws {RangeError} When there is no pair.
 */
export function noiseCeiling(rankings: readonly RankedSamples[]): number {
  const pairs = rankings.reduce((sum, ranking) => sum + ranking.pairs, 0);
  if (pairs === 0) throw new RangeError("Cannot compute the noise ceiling: want pairs: got none");
  return rankings.reduce((sum, ranking) => sum + ranking.expectedRight, 0) / pairs;
}

/**
 * Pairs of candidates that a judgement is about.
 *
 * @module
 */
import type { FeedbackRecord, Judgement } from "./feedback_record.ts";

/** Two candidates, by their numbers. */
export interface JudgedPair {
  /** The better one; of a tie either. */
  readonly chosen: number;
  /** The other. */
  readonly rejected: number;
  /** Whether neither is better. */
  readonly isTie: boolean;
}

/**
 * All pairs that a judgement says something of: K candidates give K·(K − 1) / 2, ties among them.
 * A rating, a correction and steps are about one candidate, and have none.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { pairsOf } from "./pairs.ts";
 *
 * assertEquals(pairsOf({ type: "ranking", ranking: [[2], [0, 1]] }), [
 *   { chosen: 2, rejected: 0, isTie: false },
 *   { chosen: 2, rejected: 1, isTie: false },
 *   { chosen: 0, rejected: 1, isTie: true },
 * ]);
 * ```
 */
export function pairsOf(judgement: Judgement): JudgedPair[] {
  if (judgement.type === "comparison") {
    const { chosen, rejected, outcome } = judgement;
    return [{ chosen, rejected, isTie: outcome !== "chosen" }];
  }
  if (judgement.type !== "ranking") return [];
  const ranked = judgement.ranking.flatMap((group, rank) => group.map((at) => ({ at, rank })));
  return ranked.flatMap((better, i) =>
    ranked.slice(i + 1).map((worse) => ({
      chosen: better.at,
      rejected: worse.at,
      isTie: better.rank === worse.rank,
    }))
  );
}

/** Pairs of a better and a worse one: what a reward model learns from. */
export function decidedPairs(judgement: Judgement): JudgedPair[] {
  return pairsOf(judgement).filter(({ isTie }) => !isTie);
}

/**
 * Whether the better one of a pair was shown before the other; undefined where the order is not
 * known.
 */
export function wasShownFirst(
  { details: { presentedOrder } }: Pick<FeedbackRecord, "details">,
  { chosen, rejected }: JudgedPair,
): boolean | undefined {
  if (presentedOrder === undefined) return undefined;
  return presentedOrder.indexOf(chosen) < presentedOrder.indexOf(rejected);
}

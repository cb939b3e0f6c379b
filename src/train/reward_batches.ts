/**
 * Batches of comparisons: all responses to a prompt are in one batch, a row each.
 *
 * @module
 */
import { paddedLength } from "../data/task_batches.ts";
import type { LengthBatch } from "./length_step.ts";

/** A prompt with its responses, in tokens. */
export interface EncodedComparison {
  /** (K) the whole dialogue with each response. */
  readonly rows: readonly Uint32Array<ArrayBuffer>[];
  /** (K, K): weight of "i is better than j". */
  readonly weights: readonly number[];
  /** Pairs that have a weight. */
  readonly pairs: number;
  /** Tokens of the longest row. */
  readonly length: number;
}

/** Rows of E prompts: response k of prompt e is row `e K + k`. */
export interface RewardBatch extends LengthBatch {
  /** (E, K, K), 0 where a prompt or a response is padding. */
  readonly weights: Float32Array<ArrayBuffer>;
  /** Prompts that count. */
  readonly count: number;
  /** Pairs that are compared. */
  readonly pairs: number;
  /** Live tokens of rows that are no padding. */
  readonly tokens: number;
}

/**
 * Puts comparisons into a batch; what is left of it is padding of one token a row.
 *
 * @throws {RangeError} When there are more prompts or responses than the batch has room for, or a
 * row is longer than T.
 */
export function rewardBatch(
  comparisons: readonly EncodedComparison[],
  { E, K, T }: { E: number; K: number; T: number },
): RewardBatch {
  const most = Math.max(0, ...comparisons.map(({ rows }) => rows.length));
  const longest = Math.max(0, ...comparisons.map(({ length }) => length));
  if (comparisons.length > E || most > K || longest > T) {
    const got = `${comparisons.length} prompts, ${most} responses, ${longest} tokens`;
    throw new RangeError(`Cannot make a batch: at most ${E}, ${K} and ${T}: got ${got}`);
  }
  const ids = new Uint32Array(E * K * T);
  const lengths = new Uint32Array(E * K).fill(1);
  const weights = new Float32Array(E * K * K);
  let [pairs, tokens] = [0, 0];
  comparisons.forEach((comparison, e) => {
    const own = comparison.rows.length;
    comparison.rows.forEach((row, k) => {
      ids.set(row, (e * K + k) * T);
      lengths[e * K + k] = row.length;
      tokens += row.length;
      const better = comparison.weights.slice(k * own, (k + 1) * own);
      weights.set(better, (e * K + k) * K);
    });
    pairs += comparison.pairs;
  });
  return { T, ids, lengths, weights, count: comparisons.length, pairs, tokens };
}

/**
 * The micro-batches of an update, all padded to its longest row.
 *
 * @param shape of a micro-batch
 * @param make puts comparisons into a batch, as {@linkcode rewardBatch}
 */
export function comparisonBatches<X extends EncodedComparison, B>(
  examples: readonly X[],
  { prompts: E, responses: K }: { readonly prompts: number; readonly responses: number },
  contextLength: number,
  make: (part: readonly X[], shape: { E: number; K: number; T: number }) => B,
): B[] {
  const longest = Math.max(...examples.map(({ length }) => length));
  const shape = { E, K, T: paddedLength(longest, contextLength) };
  const batches: B[] = [];
  for (let start = 0; start < examples.length; start += E) {
    batches.push(make(examples.slice(start, start + E), shape));
  }
  return batches;
}

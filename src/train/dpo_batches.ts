/**
 * Batches of comparisons whose responses are learnt as a whole.
 *
 * @module
 */
import { type EncodedComparison, type RewardBatch, rewardBatch } from "./reward_batches.ts";

/** A prompt with its responses, and what a reference says of them. */
export interface DpoExample extends EncodedComparison {
  /** Tokens before the response, the same for all of them. */
  readonly promptTokens: number;
  /** (K): log-probability of each response under the reference, f32. */
  readonly reference: Float32Array;
}

/** What a response's log-probability is made of. */
export interface SequenceBatch {
  /** (R, T): the token after each. */
  readonly targets: Uint32Array<ArrayBuffer>;
  /** (R, T): 1 where the token after it is the response's, else 0. */
  readonly mask: Float32Array<ArrayBuffer>;
}

/** Rows of E prompts: response k of prompt e is row `e K + k`. */
export interface DpoBatch extends RewardBatch, SequenceBatch {
  /** (R): 0 where a row is padding. */
  readonly reference: Float32Array<ArrayBuffer>;
}

/** Puts a row's targets and mask at their place. */
export function placeSequence(
  { targets, mask }: SequenceBatch,
  ids: Uint32Array,
  { row, T, promptTokens }: { row: number; T: number; promptTokens: number },
): void {
  targets.set(ids.subarray(1), row * T);
  // Position t tells of the token after it.
  mask.fill(1, row * T + promptTokens - 1, row * T + ids.length - 1);
}

/** Puts comparisons into a batch. @throws {RangeError} As {@linkcode rewardBatch}. */
export function dpoBatch(
  examples: readonly DpoExample[],
  { E, K, T }: { E: number; K: number; T: number },
): DpoBatch {
  const batch = rewardBatch(examples, { E, K, T });
  const sequences = {
    targets: new Uint32Array(E * K * T),
    mask: new Float32Array(E * K * T),
  };
  const reference = new Float32Array(E * K);
  examples.forEach(({ rows, promptTokens, reference: own }, e) => {
    reference.set(own, e * K);
    rows.forEach((ids, k) => placeSequence(sequences, ids, { row: e * K + k, T, promptTokens }));
  });
  return { ...batch, ...sequences, reference };
}

/**
 * Batches of examples: of like length together, each epoch in an order of its own.
 *
 * @module
 */
import { PhiloxStream } from "../random/philox.ts";
import type { EncodedExample } from "./task_tokens.ts";

/** Examples of one batch, padded to one length and to one number. */
export interface TaskBatch {
  /** E: examples with padding ones; those that count come first. */
  readonly E: number;
  /** Tokens in a row. */
  readonly T: number;
  /** (R, T): row `copy · E + example`. */
  readonly ids: Uint32Array<ArrayBuffer>;
  /** (R) live tokens of each row, from 1. */
  readonly lengths: Uint32Array<ArrayBuffer>;
  /** (E, K) shares of each class; 0 where the example is padding or has no label. */
  readonly labels: Float32Array<ArrayBuffer>;
  /** Examples that count. */
  readonly count: number;
}

/** Sizes of a batch that do not depend on its examples. */
export interface TaskBatchShape {
  /** E. */
  readonly examples: number;
  /** K. */
  readonly classes: number;
  /** Rows of an example. */
  readonly copies: number;
}

/** Rows are padded to a multiple of so many tokens: few plans, little padding. */
const LENGTH_STEP = 16;

/** Tokens of a row that holds so many, as a plan is recorded for. */
export function paddedLength(length: number, contextLength: number): number {
  return Math.min(contextLength, Math.ceil(length / LENGTH_STEP) * LENGTH_STEP);
}

/**
 * Puts examples into a batch.
 *
 * @throws {RangeError} When there are more examples than the batch has room for, or one is too
 * long.
 */
export function taskBatch(
  examples: readonly EncodedExample[],
  { examples: E, classes: K, copies }: TaskBatchShape,
  T: number,
): TaskBatch {
  if (examples.length > E) {
    throw new RangeError(`Cannot make a batch: at most ${E} examples: got ${examples.length}`);
  }
  const ids = new Uint32Array(copies * E * T);
  const lengths = new Uint32Array(copies * E).fill(1);
  const labels = new Float32Array(E * K);
  examples.forEach(({ copies: texts, target }, e) => {
    texts.forEach((tokens, copy) => {
      const row = copy * E + e;
      ids.set(tokens, row * T); // past the end it throws
      lengths[row] = tokens.length;
    });
    if (target) labels.set(target, e * K);
  });
  const longest = Math.max(...lengths);
  if (longest > T) throw new RangeError(`Cannot make a batch: rows of ${T} tokens: got ${longest}`);
  return { E, T, ids, lengths, labels, count: examples.length };
}

/** Batches whose rows are so many steps' worth are sorted by length together. */
const POOL_STEPS = 16;
const EPOCH_STREAM = 0x7461736b; // "task"
const WORDS_PER_EPOCH = 2 ** 33;

/**
 * The order of an epoch: examples are shuffled, sorted by length within pools of 16 steps, cut into
 * steps, and the steps shuffled. A function of seed and epoch alone.
 *
 * @param lengths of the examples
 * @returns for each step the indices of its examples; the last of a pool may have fewer
 */
export function epochOrder(
  lengths: readonly number[],
  { rows, seed, epoch }: { rows: number; seed: number; epoch: number },
): number[][] {
  const stream = PhiloxStream.fromState({
    seed,
    stream: EPOCH_STREAM,
    position: epoch * WORDS_PER_EPOCH,
  });
  const order = stream.shuffle(lengths.map((_, index) => index));
  const steps: number[][] = [];
  for (let start = 0; start < order.length; start += POOL_STEPS * rows) {
    const pool = order.slice(start, start + POOL_STEPS * rows);
    pool.sort((a, b) => lengths[a]! - lengths[b]!);
    for (let at = 0; at < pool.length; at += rows) steps.push(pool.slice(at, at + rows));
  }
  return stream.shuffle(steps);
}

/** Steps of an epoch. */
export function stepsPerEpoch(examples: number, rows: number): number {
  return Math.ceil(examples / rows);
}

/**
 * Batches of episodes: a row each, padded to one length, with what policy and value model learn at
 * each token of the response.
 *
 * @module
 */
import { paddedLength } from "../data/task_batches.ts";
import type { LengthBatch } from "./length_step.ts";

/** A prompt with its response, in tokens. */
export interface EpisodeRow {
  /** Of both. */
  readonly ids: Uint32Array<ArrayBuffer>;
  /** Tokens of the prompt. */
  readonly promptLength: number;
}

/** What is learnt of an episode: a number each token of the response. */
export interface LearntRow extends EpisodeRow {
  /** Under the policy that wrote it. */
  readonly logProbabilities: ArrayLike<number>;
  /** Whitened. */
  readonly advantages: ArrayLike<number>;
  /** Before each token, by the value model that the iteration began with. */
  readonly values: ArrayLike<number>;
  /** What the value model should have said. */
  readonly returns: ArrayLike<number>;
}

/** Rows of which the tokens of the response count. */
export interface EpisodeBatch extends LengthBatch {
  /** (R, T): the token after each. */
  readonly targets: Uint32Array<ArrayBuffer>;
  /** (R, T): 1 where the token after it is the response's, else 0. */
  readonly mask: Float32Array<ArrayBuffer>;
  /** Tokens of responses. */
  readonly responseTokens: number;
  /** Live tokens of rows that are no padding. */
  readonly tokens: number;
}

/** What both losses read beside it. */
export interface LearntBatch extends EpisodeBatch {
  /** (R, T, 4): old log-probability, advantage, mask, 0. */
  readonly policyTokens: Float32Array<ArrayBuffer>;
  /** (R, T, 4): old value, return, mask, 0. */
  readonly valueTokens: Float32Array<ArrayBuffer>;
}

/** Tokens of a batch that has room for all these rows. */
export function episodeLength(rows: readonly EpisodeRow[], contextLength: number): number {
  return paddedLength(Math.max(...rows.map(({ ids }) => ids.length)), contextLength);
}

/** Where the position before the response's first token is, and how many there are. */
function span({ ids, promptLength }: EpisodeRow): { first: number; count: number } {
  return { first: promptLength - 1, count: ids.length - promptLength };
}

/**
 * Puts episodes into a batch of R rows; the rows that are left are padding of one token.
 *
 * @throws {RangeError} When there are more than R, one is longer than T, or has no prompt or no
 * response.
 */
export function episodeBatch(
  rows: readonly EpisodeRow[],
  { R, T }: { R: number; T: number },
): EpisodeBatch {
  const bad = rows.find((row) => row.ids.length > T || row.promptLength < 1 || span(row).count < 1);
  if (rows.length > R || bad) {
    const got = bad ? `${bad.promptLength} of ${bad.ids.length}` : `${rows.length} rows`;
    throw new RangeError(
      `Cannot make a batch: at most ${R} rows of ${T} tokens, prompt and response: got ${got}`,
    );
  }
  const ids = new Uint32Array(R * T);
  const targets = new Uint32Array(R * T);
  const mask = new Float32Array(R * T);
  const lengths = new Uint32Array(R).fill(1);
  let [responseTokens, tokens] = [0, 0];
  rows.forEach((row, r) => {
    const { first, count } = span(row);
    ids.set(row.ids, r * T);
    targets.set(row.ids.subarray(1), r * T);
    mask.fill(1, r * T + first, r * T + first + count);
    lengths[r] = row.ids.length;
    responseTokens += count;
    tokens += row.ids.length;
  });
  return { T, ids, lengths, targets, mask, responseTokens, tokens };
}

/** As {@linkcode episodeBatch}, with what is learnt. */
export function learntBatch(
  rows: readonly LearntRow[],
  shape: { R: number; T: number },
): LearntBatch {
  const batch = episodeBatch(rows, shape);
  const policyTokens = new Float32Array(4 * shape.R * shape.T);
  const valueTokens = new Float32Array(4 * shape.R * shape.T);
  rows.forEach((row, r) => {
    const { first, count } = span(row);
    for (let t = 0; t < count; t++) {
      const at = 4 * (r * shape.T + first + t);
      policyTokens.set([row.logProbabilities[t]!, row.advantages[t]!, 1], at);
      valueTokens.set([row.values[t]!, row.returns[t]!, 1], at);
    }
  });
  return { ...batch, policyTokens, valueTokens };
}

/** The part of (R, T) numbers that belongs to each row's response. */
export function responseParts(
  rows: readonly EpisodeRow[],
  all: ArrayLike<number>,
  T: number,
): Float64Array[] {
  return rows.map((row, r) => {
    const { first, count } = span(row);
    return Float64Array.from({ length: count }, (_, t) => all[r * T + first + t]!);
  });
}

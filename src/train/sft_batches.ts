/**
 * Batches of dialogues, padded to one length: a row each, or several that share a row and do not
 * see each other.
 *
 * @module
 */
import type { EncodedDialogue } from "../prompt/dialogue.ts";
import type { LengthBatch } from "./length_step.ts";

/** Rows of which some positions are learnt. */
export interface ResponseBatch extends LengthBatch {
  /** (R, T): the token after each, whatever it counts. */
  readonly targets: Uint32Array<ArrayBuffer>;
  /** (R, T): 1 where the token after it is a response's, else 0. */
  readonly mask: Float32Array<ArrayBuffer>;
  /** Positions that count. */
  readonly unmaskedCount: number;
  /** Live tokens of rows that are no padding. */
  readonly tokens: number;
  /** Where rows hold several dialogues; what is read then in place of the lengths. */
  readonly packed?: PackedRows | undefined;
}

/** Where the dialogues of packed rows are. */
export interface PackedRows {
  /** (2, R, T): where in its row the dialogue of each token starts, and where it ends. */
  readonly segments: Uint32Array<ArrayBuffer>;
  /** (R, T): each token's place in its dialogue. */
  readonly positions: Uint32Array<ArrayBuffer>;
}

/** Sizes of a batch. */
export interface BatchShape {
  /** Rows. */
  readonly R: number;
  /** Tokens in a row. */
  readonly T: number;
}

/**
 * Puts dialogues into a batch of R rows, one a row; the rows that are left are padding of one
 * token.
 *
 * @throws {RangeError} When there are more dialogues than rows, or one is longer than T.
 */
export function responseBatch(
  dialogues: readonly EncodedDialogue[],
  shape: BatchShape,
): ResponseBatch {
  return layOut(dialogues.map((dialogue) => [dialogue]), shape);
}

/**
 * Puts dialogues into a batch of R rows, several a row, one after the other. Each begins at
 * position 0 and its last token has no target, so that none is asked for the next; a token of
 * padding is a segment of its own.
 *
 * @param rows the dialogues of each row
 * @throws {RangeError} When there are more rows than R, or one has more than T tokens.
 */
export function packedBatch(
  rows: readonly (readonly EncodedDialogue[])[],
  { R, T }: BatchShape,
): ResponseBatch {
  const batch = layOut(rows, { R, T });
  const positions = new Uint32Array(R * T);
  const segments = new Uint32Array(2 * R * T);
  const [starts, ends] = [segments.subarray(0, R * T), segments.subarray(R * T)];
  for (let n = 0; n < R * T; n++) [starts[n], ends[n]] = [n % T, n % T + 1];
  rows.forEach((dialogues, r) => {
    let start = 0;
    for (const { ids: { length } } of dialogues) {
      const [from, to] = [r * T + start, r * T + start + length];
      for (let n = from; n < to; n++) positions[n] = n - from;
      starts.fill(start, from, to);
      ends.fill(start + length, from, to);
      start += length;
    }
  });
  return { ...batch, packed: { segments, positions } };
}

/** Ids, targets and mask of rows of dialogues. */
function layOut(
  rows: readonly (readonly EncodedDialogue[])[],
  { R, T }: BatchShape,
): ResponseBatch {
  const counts = rows.map((row) => row.reduce((sum, { ids }) => sum + ids.length, 0));
  const longest = Math.max(0, ...counts);
  if (rows.length > R || longest > T) {
    const got = `${rows.length} of up to ${longest}`;
    throw new RangeError(`Cannot make a batch: at most ${R} rows of ${T} tokens: got ${got}`);
  }
  const ids = new Uint32Array(R * T);
  const targets = new Uint32Array(R * T);
  const mask = new Float32Array(R * T);
  const lengths = new Uint32Array(R).fill(1);
  let [unmaskedCount, tokens] = [0, 0];
  rows.forEach((dialogues, r) => {
    let at = r * T;
    for (const { ids: own, isResponse } of dialogues) {
      const learnt = isResponse.subarray(1);
      ids.set(own, at);
      targets.set(own.subarray(1), at);
      mask.set(learnt, at);
      unmaskedCount += learnt.reduce((sum, each) => sum + each, 0);
      at += own.length;
    }
    lengths[r] = counts[r]!;
    tokens += counts[r]!;
  });
  return { T, ids, lengths, targets, mask, unmaskedCount, tokens };
}

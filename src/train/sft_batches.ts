/**
 * Batches of dialogues: a row each, so that attention sees no neighbour, padded to one length.
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
}

/**
 * Puts dialogues into a batch of R rows; the rows that are left are padding of one token.
 *
 * @throws {RangeError} When there are more dialogues than rows, or one is longer than T.
 */
export function responseBatch(
  dialogues: readonly EncodedDialogue[],
  { R, T }: { R: number; T: number },
): ResponseBatch {
  const longest = Math.max(0, ...dialogues.map(({ ids }) => ids.length));
  if (dialogues.length > R || longest > T) {
    const got = `${dialogues.length} of up to ${longest}`;
    throw new RangeError(`Cannot make a batch: at most ${R} rows of ${T} tokens: got ${got}`);
  }
  const ids = new Uint32Array(R * T);
  const targets = new Uint32Array(R * T);
  const mask = new Float32Array(R * T);
  const lengths = new Uint32Array(R).fill(1);
  let [unmaskedCount, tokens] = [0, 0];
  dialogues.forEach(({ ids: row, isResponse }, r) => {
    ids.set(row, r * T);
    targets.set(row.subarray(1), r * T);
    mask.set(isResponse.subarray(1), r * T);
    lengths[r] = row.length;
    tokens += row.length;
    unmaskedCount += isResponse.subarray(1).reduce((sum, own) => sum + own, 0);
  });
  return { T, ids, lengths, targets, mask, unmaskedCount, tokens };
}

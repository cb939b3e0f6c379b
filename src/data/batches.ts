/**
 * Batches of (B, T) inputs and the targets that follow them, out of a split of tokens.
 *
 * Both readers are a pure function of their cursor: small JSON that continues bit for bit.
 *
 * @module
 */

import { CannotError } from "../config/cannot.ts";
import { PhiloxStream } from "../random/philox.ts";
import type { TokenSplit } from "./shards.ts";

/** Rows of tokens; targets[b, t] is the token after inputs[b, t]. */
export interface Batch {
  /** Rows. */
  readonly B: number;
  /** Tokens in a row. */
  readonly T: number;
  /** (B, T) */
  readonly inputs: Uint32Array<ArrayBuffer>;
  /** (B, T) */
  readonly targets: Uint32Array<ArrayBuffer>;
}

/** A batch of which some positions do not count. */
export interface MaskedBatch extends Batch {
  /** (B, T): 1 where the target counts, 0 where the row has ended. */
  readonly mask: Float32Array<ArrayBuffer>;
  /** Positions that count. */
  readonly unmaskedCount: number;
}

/** Where a reader is: plain JSON. */
export type DataCursor =
  | { kind: "random"; data: string; seed: number; T: number; drawn: number }
  | { kind: "epochs"; data: string; seed: number; T: number; epoch: number; block: number };

/** What training takes batches from. */
export interface BatchReader {
  /** The next B rows. */
  next(B: number): Batch;
  /** What continues from here. */
  readonly cursor: DataCursor;
}

/** Options of both readers. */
export interface ReaderOptions {
  /** Tokens in a row. */
  T: number;
  /** Chooses the windows, or the order of the blocks. */
  seed: number;
}

// Stream ids below one seed; no other part of the program uses these.
const WINDOWS_STREAM = 0x77696e64; // "wind"
const EPOCHS_STREAM = 0x65706f63; // "epoc"
const WORDS_PER_WINDOW = 4; // a whole Philox block, so that a window's place is a plain product
const WORDS_PER_EPOCH = 2 ** 33; // more than a shuffle of 2^32 blocks draws

/**
 * Windows that begin anywhere, each anywhere as likely, as nanoGPT draws them. Window w of a run is
 * that of row b of step s for w = s B + b, whatever was drawn before.
 */
export class RandomWindows implements BatchReader {
  readonly #split: TokenSplit;
  readonly #options: ReaderOptions;
  #drawn: number;

  /**
   * Starts anew, or at a cursor.
   *
   * @throws {CannotError} when the split is too short for one window, or the cursor is another's
   */
  constructor(split: TokenSplit, options: ReaderOptions, cursor?: DataCursor) {
    checkLength(split, options.T);
    this.#split = split;
    this.#options = options;
    this.#drawn = 0;
    if (cursor === undefined) return;
    checkCursor(cursor, this.cursor);
    if (cursor.kind === "random") this.#drawn = cursor.drawn;
  }

  /** What continues from here. */
  get cursor(): DataCursor {
    const { T, seed } = this.#options;
    return { kind: "random", data: this.#split.sha256, seed, T, drawn: this.#drawn };
  }

  /** Where window w begins: an integer in [0, count - T). */
  start(w: number): number {
    const { seed, T } = this.#options;
    const position = w * WORDS_PER_WINDOW;
    const stream = PhiloxStream.fromState({ seed, stream: WINDOWS_STREAM, position });
    const high = stream.nextU32();
    const low = stream.nextU32() >>> 11;
    // 53 random bits: the bias of any place is below 2^-20 for all splits that fit on a disk.
    return Math.floor((high * 2 ** 21 + low) * 2 ** -53 * (this.#split.count - T));
  }

  /** The next B rows. */
  next(B: number): Batch {
    const batch = emptyBatch(B, this.#options.T);
    for (let b = 0; b < B; b++) fillRow(this.#split, batch, b, this.start(this.#drawn++));
    return batch;
  }
}

/**
 * All blocks of T tokens once an epoch, in an order of the epoch's own. The tokens that fill no
 * block are left out at the start of the epoch, or at its end, by a random offset.
 */
export class SequentialEpochs implements BatchReader {
  /** Blocks in an epoch. */
  readonly blockCount: number;
  readonly #split: TokenSplit;
  readonly #options: ReaderOptions;
  readonly #order: Uint32Array<ArrayBuffer>;
  #offset = 0; // of the epoch's first block
  #epoch = 0;
  #block = 0; // next one of the epoch

  /**
   * Starts anew, or at a cursor.
   *
   * @throws {CannotError} when the split is too short for one block, or the cursor is another's
   */
  constructor(split: TokenSplit, options: ReaderOptions, cursor?: DataCursor) {
    checkLength(split, options.T);
    this.#split = split;
    this.#options = options;
    this.blockCount = Math.floor((split.count - 1) / options.T);
    this.#order = new Uint32Array(this.blockCount);
    if (cursor !== undefined) {
      checkCursor(cursor, this.cursor);
      if (cursor.kind === "epochs") {
        if (cursor.block >= this.blockCount) throw badCursor(cursor);
        this.#epoch = cursor.epoch;
        this.#block = cursor.block;
      }
    }
    this.#shuffle();
  }

  /** Epochs begun before the next row. */
  get epoch(): number {
    return this.#epoch;
  }

  /** What continues from here. */
  get cursor(): DataCursor {
    const { T, seed } = this.#options;
    const [epoch, block] = [this.#epoch, this.#block];
    return { kind: "epochs", data: this.#split.sha256, seed, T, epoch, block };
  }

  /** The next B rows. */
  next(B: number): Batch {
    const { T } = this.#options;
    const batch = emptyBatch(B, T);
    for (let b = 0; b < B; b++) {
      fillRow(this.#split, batch, b, this.#offset + this.#order[this.#block]! * T);
      if (++this.#block < this.blockCount) continue;
      this.#block = 0;
      this.#epoch++;
      this.#shuffle();
    }
    return batch;
  }

  #shuffle(): void {
    const { seed, T } = this.#options;
    const position = this.#epoch * WORDS_PER_EPOCH;
    const stream = PhiloxStream.fromState({ seed, stream: EPOCHS_STREAM, position });
    this.#offset = stream.integer(this.#split.count - this.blockCount * T);
    for (let i = 0; i < this.blockCount; i++) this.#order[i] = i;
    stream.shuffle(this.#order);
  }
}

/** A reader that continues where the cursor was taken. @throws {CannotError} on other data */
export function resumeReader(split: TokenSplit, cursor: DataCursor): BatchReader {
  const { T, seed } = cursor;
  return cursor.kind === "random"
    ? new RandomWindows(split, { T, seed }, cursor)
    : new SequentialEpochs(split, { T, seed }, cursor);
}

/**
 * The whole split in its order, for evaluation: each token but the first is a target exactly once.
 * All batches have B rows; what the last ones lack is masked, with token 0.
 */
export function* wholeSplit(
  split: TokenSplit,
  options: { B: number; T: number },
): Generator<MaskedBatch> {
  const { B, T } = options;
  if (split.count < 2) {
    throw new CannotError(`evaluate ${split.label}`, "want 2 tokens", `it has ${split.count}`);
  }
  const targetCount = split.count - 1;
  for (let done = 0; done < targetCount; done += B * T) {
    const batch = emptyBatch(B, T);
    const mask = new Float32Array(B * T);
    const unmaskedCount = Math.min(B * T, targetCount - done);
    // Rows follow one another, so that a batch is one range of the split.
    split.read(done, batch.inputs.subarray(0, unmaskedCount));
    split.read(done + 1, batch.targets.subarray(0, unmaskedCount));
    mask.fill(1, 0, unmaskedCount);
    yield { ...batch, mask, unmaskedCount };
  }
}

function emptyBatch(B: number, T: number): Batch {
  if (!(Number.isInteger(B) && B >= 1)) {
    throw new RangeError(`Cannot make a batch: want B of 1 or more: got ${B}`);
  }
  return { B, T, inputs: new Uint32Array(B * T), targets: new Uint32Array(B * T) };
}

/** Fills inputs[b, :] with the tokens from `start` on, and targets[b, :] with those one further. */
function fillRow(split: TokenSplit, { T, inputs, targets }: Batch, b: number, start: number): void {
  const row = inputs.subarray(b * T, (b + 1) * T);
  split.read(start, row);
  targets.set(row.subarray(1), b * T);
  split.read(start + T, targets.subarray((b + 1) * T - 1, (b + 1) * T));
}

function checkLength(split: TokenSplit, T: number): void {
  if (!(Number.isInteger(T) && T >= 1)) {
    throw new RangeError(`Cannot read ${split.label}: want T of 1 or more: got ${T}`);
  }
  if (split.count > T) return;
  throw new CannotError(
    `train on ${split.label}`,
    `want more than ${T} tokens, the context's length`,
    `it has ${split.count}`,
  );
}

function checkCursor(cursor: DataCursor, fresh: DataCursor): void {
  const act = "continue with the data";
  for (const key of ["kind", "data", "seed", "T"] as const) {
    if (cursor[key] === fresh[key]) continue;
    const want = key === "data" ? "want the tokens it began with" : `want ${key} ${cursor[key]}`;
    const state = key === "data" ? "these are others" : `it is ${fresh[key]}`;
    throw new CannotError(act, want, state);
  }
  const counts = cursor.kind === "random" ? [cursor.drawn] : [cursor.epoch, cursor.block];
  const isBad = counts.some((count) => !Number.isSafeInteger(count) || count < 0);
  if (isBad) throw badCursor(cursor);
}

function badCursor(cursor: DataCursor): CannotError {
  const state = `got ${JSON.stringify(cursor)}`;
  return new CannotError("continue with the data", "want whole numbers within it", state);
}

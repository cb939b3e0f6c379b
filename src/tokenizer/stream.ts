/**
 * Ids back to bytes and text, at once or as they come.
 *
 * @module
 */

import type { DecodeOptions } from "./tokenizer.ts";

/** What decoding needs to know of a tokenizer. */
export interface Vocabulary {
  /** Count of ids. */
  readonly vocabSize: number;
  /** Name of each special id. */
  readonly specialNames: ReadonlyMap<number, string>;
  /** The bytes of an id that is known to be below vocabSize. */
  bytesOf(id: number): Uint8Array<ArrayBuffer>;
  /** Whether the space after the very last token is no part of the text (GPT-1's ends of words). */
  readonly dropsLastSpace: boolean;
}

const SPACE = 0x20;

/** Decodes ids that come in pieces. `push` gives what is certain, `end` what was held back. */
export class StreamDecoder {
  readonly #vocabulary: Vocabulary;
  readonly #skipSpecial: boolean;
  // A byte order mark is text like any other here; the default would swallow it.
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  #heldSpace = "";

  /** For one sequence; made by `tokenizer.streamDecoder()`. */
  constructor(vocabulary: Vocabulary, { skipSpecial = false }: DecodeOptions = {}) {
    this.#vocabulary = vocabulary;
    this.#skipSpecial = skipSpecial;
  }

  /** The text that these ids complete. @throws {RangeError} on an unknown id */
  push(...ids: number[]): string {
    let text = "";
    for (const id of ids) {
      const bytes = bytesOf(this.#vocabulary, id);
      if (this.#skipSpecial && this.#vocabulary.specialNames.has(id)) continue;
      text += this.#utf8.decode(bytes, { stream: true });
    }
    return this.#hold(text);
  }

  /**
   * What is left: U+FFFD where a character was never completed. The decoder can then start anew.
   */
  end(): string {
    const text = this.#hold(this.#utf8.decode());
    this.#heldSpace = "";
    return text;
  }

  #hold(text: string): string {
    if (!this.#vocabulary.dropsLastSpace || text === "") return text;
    const whole = this.#heldSpace + text;
    this.#heldSpace = whole.endsWith(" ") ? " " : "";
    return whole.slice(0, whole.length - this.#heldSpace.length);
  }
}

/** The bytes of all ids, one after another. @throws {RangeError} on an unknown id */
export function joinBytes(
  vocabulary: Vocabulary,
  ids: Iterable<number>,
  { skipSpecial = false }: DecodeOptions = {},
): Uint8Array<ArrayBuffer> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let sizeBytes = 0;
  for (const id of ids) {
    const bytes = bytesOf(vocabulary, id);
    if (skipSpecial && vocabulary.specialNames.has(id)) continue;
    pieces.push(bytes);
    sizeBytes += bytes.length;
  }
  if (vocabulary.dropsLastSpace && pieces.at(-1)?.at(-1) === SPACE) sizeBytes--;
  const joined = new Uint8Array(sizeBytes);
  let at = 0;
  for (const bytes of pieces) {
    joined.set(bytes.subarray(0, sizeBytes - at), at);
    at += bytes.length;
  }
  return joined;
}

/**
 * The text of all ids; bytes that are no UTF-8 become U+FFFD. @throws {RangeError} on an unknown id
 */
export function joinText(
  vocabulary: Vocabulary,
  ids: Iterable<number>,
  options?: DecodeOptions,
): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(joinBytes(vocabulary, ids, options));
}

/** The bytes of one id. @throws {RangeError} on an unknown id */
export function bytesOf(vocabulary: Vocabulary, id: number): Uint8Array<ArrayBuffer> {
  if (!Number.isInteger(id) || id < 0 || id >= vocabulary.vocabSize) {
    throw new RangeError(
      `Cannot decode: an id must be an integer in [0, ${vocabulary.vocabSize}): got ${id}`,
    );
  }
  return vocabulary.bytesOf(id);
}

/**
 * What every tokenizer here offers: text to ids and back.
 *
 * @module
 */

import type { StreamDecoder } from "./stream.ts";

/** How to encode. */
export interface EncodeOptions {
  /**
   * Which special tokens are recognised in the text: all, none or these names. What is not allowed
   * is encoded as plain text, as input from others should be.
   *
   * @default {true}
   */
  allowSpecial?: boolean | ReadonlySet<string>;
}

/** How to decode. */
export interface DecodeOptions {
  /**
   * Leave the special tokens out.
   *
   * @default {false}
   */
  skipSpecial?: boolean;
}

/** The kinds of tokenizer: byte-level BPE (GPT-2's and our own), GPT-1's BPE, characters. */
export type TokenizerKind = "byte-level" | "gpt1" | "characters";

/** Turns text into token ids in [0, vocabSize) and back. */
export interface Tokenizer {
  /** Which class this is. */
  readonly kind: TokenizerKind;
  /** Count of ids, special tokens included. */
  readonly vocabSize: number;
  /** Id of each special token's name. */
  readonly specialTokens: ReadonlyMap<string, number>;
  /** Hexadecimal SHA-256 of its `tokenizer.json`. */
  readonly sha256: string;

  /**
   * The ids of a text. Unpaired surrogates count as U+FFFD, as they have no UTF-8.
   * @throws {RangeError} when a tokenizer of characters meets one that it does not have
   */
  encode(text: string, options?: EncodeOptions): number[];

  /**
   * The text of ids; bytes that are no UTF-8 become U+FFFD. @throws {RangeError} on an unknown id
   */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;

  /** The bytes of ids. @throws {RangeError} on an unknown id */
  decodeBytes(ids: Iterable<number>, options?: DecodeOptions): Uint8Array<ArrayBuffer>;

  /** Decodes ids that come one by one; no character is ever cut. */
  streamDecoder(options?: DecodeOptions): StreamDecoder;

  /**
   * The bytes that one id stands for; not to be written to. @throws {RangeError} on an unknown id
   */
  tokenBytes(id: number): Uint8Array<ArrayBuffer>;

  /**
   * The same tokenizer with more special tokens, whose ids follow the last one; names that it has
   * already are skipped.
   * @throws {RangeError} when a name is empty or is a token that is not special
   */
  withSpecialTokens(names: Iterable<string>): Tokenizer;

  /** The content of `tokenizer.json`, in the form of Hugging Face's `tokenizers`. */
  toJSON(): Record<string, unknown>;
}

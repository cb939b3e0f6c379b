/**
 * One token a character (code point), as in nanoGPT's `shakespeare_char`.
 *
 * @module
 */

import { addedTokens } from "./byte_level.ts";
import { grow, SpecialTokens } from "./special.ts";
import { bytesOf, joinBytes, joinText, StreamDecoder, type Vocabulary } from "./stream.ts";
import type { DecodeOptions, EncodeOptions, Tokenizer } from "./tokenizer.ts";
import { fileText, sha256Of } from "./vocabulary.ts";

/** A vocabulary of characters; those that it does not have cannot be encoded. */
export class CharacterTokenizer implements Tokenizer {
  /** Which class this is. */
  readonly kind = "characters";
  readonly #tokens: readonly string[];
  readonly #ids: ReadonlyMap<string, number>;
  readonly #special: SpecialTokens;
  readonly #vocabulary: Vocabulary;
  #sha256: string | undefined;

  /**
   * From the token of each id, and the names and ids of those that are special.
   * @throws {RangeError} when a token comes twice, or has not one character and is not special
   */
  constructor(
    tokens: readonly string[],
    special: Iterable<readonly [name: string, id: number]> = [],
  ) {
    this.#tokens = tokens;
    this.#ids = new Map(tokens.map((token, id) => [token, id]));
    this.#special = new SpecialTokens(special);
    const fault = tokens.findIndex((token, id) =>
      this.#ids.get(token) !== id || ([...token].length !== 1 && !this.#special.names.has(id))
    );
    if (fault !== -1) {
      throw new RangeError(
        "Cannot make a tokenizer of characters: tokens must be single characters that differ: " +
          `token ${fault} is ${JSON.stringify(tokens[fault])}`,
      );
    }
    const utf8 = new TextEncoder();
    this.#vocabulary = {
      vocabSize: tokens.length,
      specialNames: this.#special.names,
      bytesOf: (id) => utf8.encode(tokens[id]!),
      dropsLastSpace: false,
    };
  }

  /**
   * The characters of some texts, in the order of their code points, then the special tokens.
   *
   * @example
   * ```ts
   * import { CharacterTokenizer } from "./characters.ts";
   * const tokenizer = CharacterTokenizer.fromText(["hello"]);
   * console.assert(tokenizer.encode("hole").join() === "1,3,2,0");
   * ```
   */
  static fromText(texts: Iterable<string>, special: Iterable<string> = []): CharacterTokenizer {
    const seen = new Set<string>();
    for (const text of texts) {
      for (const character of text.toWellFormed()) seen.add(character);
    }
    const sorted = [...seen].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
    return new CharacterTokenizer(sorted).withSpecialTokens(special);
  }

  /** Count of ids, special tokens included. */
  get vocabSize(): number {
    return this.#tokens.length;
  }

  /** Id of each special token's name. */
  get specialTokens(): ReadonlyMap<string, number> {
    return this.#special.ids;
  }

  /** Hexadecimal SHA-256 of its `tokenizer.json`. */
  get sha256(): string {
    return this.#sha256 ??= sha256Of(fileText(this.toJSON()));
  }

  /** The ids of a text. @throws {RangeError} on a character that the vocabulary does not have */
  encode(text: string, options?: EncodeOptions): number[] {
    const ids: number[] = [];
    for (const stretch of this.#special.split(text.toWellFormed(), options)) {
      if (typeof stretch === "number") {
        ids.push(stretch);
        continue;
      }
      for (const character of stretch) {
        const id = this.#ids.get(character);
        if (id === undefined || this.#special.names.has(id)) throw unknown(character, ids.length);
        ids.push(id);
      }
    }
    return ids;
  }

  /** The text of ids. */
  decode(ids: Iterable<number>, options?: DecodeOptions): string {
    return joinText(this.#vocabulary, ids, options);
  }

  /** The bytes of ids. */
  decodeBytes(ids: Iterable<number>, options?: DecodeOptions): Uint8Array<ArrayBuffer> {
    return joinBytes(this.#vocabulary, ids, options);
  }

  /** Decodes ids that come one by one. */
  streamDecoder(options?: DecodeOptions): StreamDecoder {
    return new StreamDecoder(this.#vocabulary, options);
  }

  /** The bytes of one id. */
  tokenBytes(id: number): Uint8Array<ArrayBuffer> {
    return bytesOf(this.#vocabulary, id);
  }

  /** The same with more special tokens. */
  withSpecialTokens(names: Iterable<string>): CharacterTokenizer {
    const added = grow(this.#special, this.vocabSize, names, (name) => this.#ids.has(name));
    if (added.length === 0) return this;
    return new CharacterTokenizer(
      [...this.#tokens, ...added.map(([name]) => name)],
      [...this.#special.ids, ...added],
    );
  }

  /** The content of `tokenizer.json`: a model of whole words, on a text cut into its characters. */
  toJSON(): Record<string, unknown> {
    return {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: addedTokens(this.#special),
      normalizer: null,
      pre_tokenizer: {
        type: "Split",
        pattern: { Regex: "[\\s\\S]" },
        behavior: "Isolated",
        invert: false,
      },
      post_processor: null,
      decoder: { type: "Fuse" },
      // `tokenizers` wants a name for the unknown; as no token has it, an unknown character is an
      // error there as well.
      model: { type: "WordLevel", vocab: Object.fromEntries(this.#ids), unk_token: "<unk>" },
    };
  }
}

function unknown(character: string, position: number): RangeError {
  const code = character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0");
  return new RangeError(
    "Cannot encode: every character must be in the vocabulary: " +
      `${JSON.stringify(character)} (U+${code}) at character ${position} is not`,
  );
}

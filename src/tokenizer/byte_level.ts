/**
 * Byte-level BPE: any text, and any bytes, as tokens of a vocabulary that holds all 256 bytes.
 *
 * Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2,
 * and its `encoder.py`; the ids are those of Hugging Face's `tokenizers` (models/bpe,
 * pre_tokenizers/byte_level).
 *
 * The merging is ours and not `gpt-tokenizer`'s `BytePairEncodingCore` (4.0.0), which gives the
 * same ids where it gives any, but for two cases: 200,000 letters in a row took it 59 s and then
 * overflowed the stack, and a trained token that begins with a byte order mark is never found.
 *
 * @module
 */

import { type Merge, MergeTable, WordCache } from "./merge.ts";
import { grow, SpecialTokens } from "./special.ts";
import { bytesOf, joinBytes, joinText, StreamDecoder, type Vocabulary } from "./stream.ts";
import type { DecodeOptions, EncodeOptions, Tokenizer } from "./tokenizer.ts";
import { fileText, sha256Of } from "./vocabulary.ts";

// GPT-2's pattern. Its \s means White_Space; JavaScript's differs by U+0085 and U+FEFF.
const WORD =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** Cuts a text into the words that BPE then works on, one by one. Nothing is lost. */
export function* splitWords(text: string): Generator<string> {
  for (const [word] of text.matchAll(WORD)) yield word;
}

/**
 * The character that stands for each byte in vocabulary files: the byte's own where that is
 * printable, else the next one from U+0100.
 */
export const BYTE_CHARACTERS: readonly string[] = byteCharacters();

function byteCharacters(): string[] {
  const isPrintable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    return String.fromCharCode(isPrintable(byte) ? byte : next++);
  });
}

const BYTES = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));

/**
 * The bytes of a token as vocabulary files write it; undefined where a character stands for none.
 */
export function bytesOfToken(token: string): Uint8Array<ArrayBuffer> | undefined {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = BYTES.get(token[i]!);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

/** How vocabulary files write bytes. */
export function tokenOfBytes(bytes: Iterable<number>): string {
  let token = "";
  for (const byte of bytes) token += BYTE_CHARACTERS[byte]!;
  return token;
}

/** All that a byte-level tokenizer is. */
export interface ByteLevelModel {
  /** The token of each id: as {@link tokenOfBytes} writes it, special ones by their names. */
  tokens: readonly string[];
  /** The merges, first ranks first, as ids. */
  merges: readonly Merge[];
  /** Names and ids of the special tokens. */
  special: Iterable<readonly [name: string, id: number]>;
}

/** GPT-2's kind of tokenizer, with any vocabulary. */
export class ByteLevelTokenizer implements Tokenizer {
  /** Which class this is. */
  readonly kind = "byte-level";
  /** The merges, first ranks first, as ids. */
  readonly merges: readonly Merge[];
  /** The token of each id, as vocabulary files write it. */
  readonly tokens: readonly string[];
  readonly #special: SpecialTokens;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #idOfByte: readonly number[];
  readonly #table: MergeTable;
  readonly #cache: WordCache;
  readonly #bytes: (Uint8Array<ArrayBuffer> | undefined)[] = []; // of each id, once it was needed
  readonly #vocabulary: Vocabulary;
  #sha256: string | undefined;
  readonly #utf8 = new TextEncoder();

  /**
   * From a vocabulary and merges. @throws {RangeError} when two ids have one token, or a byte has
   * none
   */
  constructor({ tokens, merges, special }: ByteLevelModel) {
    this.tokens = tokens;
    this.merges = merges;
    this.#special = new SpecialTokens(special);
    this.#ids = new Map(tokens.map((token, id) => [token, id]));
    if (this.#ids.size !== tokens.length) {
      const twice = tokens.find((token, id) => this.#ids.get(token) !== id);
      throw new RangeError(`Cannot make a tokenizer: tokens must differ: "${twice}" comes twice`);
    }
    this.#idOfByte = BYTE_CHARACTERS.map((character, byte) => {
      const id = this.#ids.get(character);
      if (id !== undefined) return id;
      throw new RangeError(
        `Cannot make a byte-level tokenizer: each byte must have a token: byte ${byte} has none`,
      );
    });
    this.#table = new MergeTable(tokens.length, merges);
    this.#cache = new WordCache((word) => this.#merge(this.#utf8.encode(word)));
    this.#vocabulary = {
      vocabSize: tokens.length,
      specialNames: this.#special.names,
      bytesOf: (id) => this.#bytes[id] ??= this.#spell(id),
      dropsLastSpace: false,
    };
  }

  /** Count of ids, special tokens included. */
  get vocabSize(): number {
    return this.tokens.length;
  }

  /** Id of each special token's name. */
  get specialTokens(): ReadonlyMap<string, number> {
    return this.#special.ids;
  }

  /** Hexadecimal SHA-256 of its `tokenizer.json`. */
  get sha256(): string {
    return this.#sha256 ??= sha256Of(fileText(this.toJSON()));
  }

  /** The ids of a text. */
  encode(text: string, options?: EncodeOptions): number[] {
    const ids: number[] = [];
    for (const stretch of this.#special.split(text, options)) {
      if (typeof stretch === "number") {
        ids.push(stretch);
        continue;
      }
      for (const word of splitWords(stretch)) {
        for (const id of this.#cache.get(word)) ids.push(id);
      }
    }
    return ids;
  }

  /**
   * The ids of any bytes, none of them special: what is UTF-8 as its text, each other byte alone.
   * `decodeBytes` gives the same bytes back.
   */
  encodeBytes(bytes: Uint8Array): number[] {
    const ids: number[] = [];
    const utf8 = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
    const encodeText = (start: number, end: number) => {
      if (start === end) return;
      const text = utf8.decode(bytes.subarray(start, end));
      for (const word of splitWords(text)) for (const id of this.#cache.get(word)) ids.push(id);
    };
    let start = 0;
    for (let at = 0; at < bytes.length;) {
      const sizeBytes = characterBytes(bytes, at);
      if (sizeBytes > 0) {
        at += sizeBytes;
        continue;
      }
      encodeText(start, at);
      ids.push(this.#idOfByte[bytes[at]!]!);
      start = ++at;
    }
    encodeText(start, bytes.length);
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
  withSpecialTokens(names: Iterable<string>): ByteLevelTokenizer {
    const added = grow(this.#special, this.vocabSize, names, (name) => this.#ids.has(name));
    return new ByteLevelTokenizer({
      tokens: [...this.tokens, ...added.map(([name]) => name)],
      merges: this.merges,
      special: [...this.#special.ids, ...added],
    });
  }

  /** The content of `tokenizer.json`. */
  toJSON(): Record<string, unknown> {
    const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
    return {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: addedTokens(this.#special),
      normalizer: null,
      pre_tokenizer: { ...byteLevel, use_regex: true },
      post_processor: null,
      decoder: { ...byteLevel, use_regex: true },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: Object.fromEntries(this.#ids),
        // The older of two spellings: every version of `tokenizers` reads it, and no token has a
        // space.
        merges: this.merges.map(([left, right]) => `${this.tokens[left]} ${this.tokens[right]}`),
      },
    };
  }

  #merge(bytes: Uint8Array): number[] {
    return this.#table.apply(Array.from(bytes, (byte) => this.#idOfByte[byte]!));
  }

  #spell(id: number): Uint8Array<ArrayBuffer> {
    const name = this.#special.names.get(id);
    if (name !== undefined) return this.#utf8.encode(name);
    return bytesOfToken(this.tokens[id]!) ?? this.#utf8.encode(this.tokens[id]!);
  }
}

/** How `tokenizer.json` lists special tokens. */
export function addedTokens(special: SpecialTokens): Record<string, unknown>[] {
  return [...special.ids].sort((a, b) => a[1] - b[1]).map(([content, id]) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
}

/** Bytes of the UTF-8 character that starts at `at`, or 0 where none does (RFC 3629, section 4). */
function characterBytes(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const sizeBytes = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  // The second byte alone rules out long spellings, surrogates and what is past U+10FFFF.
  const lowest = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const highest = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  const second = bytes[at + 1] ?? 0;
  if (second < lowest || second > highest) return 0;
  for (let i = 2; i < sizeBytes; i++) {
    const byte = bytes[at + i] ?? 0;
    if (byte < 0x80 || byte > 0xbf) return 0;
  }
  return sizeBytes;
}

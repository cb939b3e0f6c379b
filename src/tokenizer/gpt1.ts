/**
 * GPT-1's tokenizer: BPE over lower-case words, whose last symbol carries `</w>`.
 *
 * Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training",
 * section 4.1, and its released vocabulary. Words are cut as `transformers` cuts them
 * (OpenAIGPTTokenizer); the original used ftfy and spaCy. Encoding is lossy: case, accents, control
 * characters and the amount of white space are gone, and what the vocabulary lacks is `<unk>`.
 *
 * @module
 */

import { CannotError } from "../config/cannot.ts";
import { splitBertWords } from "./bert_words.ts";
import { addedTokens } from "./byte_level.ts";
import { type Merge, MergeTable, WordCache } from "./merge.ts";
import { grow, SpecialTokens } from "./special.ts";
import { bytesOf, joinBytes, joinText, StreamDecoder, type Vocabulary } from "./stream.ts";
import type { DecodeOptions, EncodeOptions, Tokenizer } from "./tokenizer.ts";
import { fileText, mergesById, parseJson, sha256Of, tokensById } from "./vocabulary.ts";

/** What ends a word's last symbol. */
export const END_OF_WORD = "</w>";
/** The token of whatever the vocabulary lacks. */
export const UNKNOWN = "<unk>";

/**
 * What the original replaced before anything else (`text_standardize`), as far as it shows in the
 * words: characters that its vocabulary lacks, by those that it has.
 */
export const STANDARD_CHARACTERS: readonly (readonly [from: string, to: string])[] = [
  ["—", "-"],
  ["–", "-"],
  ["―", "-"],
  ["…", "..."],
  ["´", "'"],
];

/** All that a tokenizer of GPT-1's kind is. */
export interface Gpt1Model {
  /** The token of each id. */
  tokens: readonly string[];
  /** The merges, first ranks first, as ids. */
  merges: readonly Merge[];
  /** Names and ids of the special tokens; `<unk>` is one. */
  special: Iterable<readonly [name: string, id: number]>;
  /**
   * Replace dashes, ellipses and acute accents as the original did. `transformers` does not.
   *
   * @default {false}
   */
  standardize?: boolean;
}

/** GPT-1's kind of tokenizer. */
export class Gpt1Tokenizer implements Tokenizer {
  /** Which class this is. */
  readonly kind = "gpt1";
  readonly #model: Gpt1Model;
  readonly #special: SpecialTokens;
  readonly #ids: ReadonlyMap<string, number>;
  readonly #unknown: number;
  readonly #table: MergeTable;
  readonly #cache: WordCache;
  readonly #vocabulary: Vocabulary;
  #sha256: string | undefined;

  /**
   * From a vocabulary and merges. @throws {RangeError} when `<unk>` is missing, or two ids have one
   * token
   */
  constructor(model: Gpt1Model) {
    const { tokens } = this.#model = model;
    this.#special = new SpecialTokens(model.special);
    this.#ids = new Map(tokens.map((token, id) => [token, id]));
    const unknown = this.#special.ids.get(UNKNOWN);
    if (unknown === undefined || this.#ids.size !== tokens.length) {
      throw new RangeError(
        `Cannot make GPT-1's tokenizer: tokens must differ, and ${UNKNOWN} be a special one: ` +
          `${tokens.length - this.#ids.size} come twice, ${UNKNOWN} is ${unknown ?? "missing"}`,
      );
    }
    this.#unknown = unknown;
    this.#table = new MergeTable(tokens.length, model.merges);
    this.#cache = new WordCache((word) => this.#merge(word));
    const utf8 = new TextEncoder();
    this.#vocabulary = {
      vocabSize: tokens.length,
      specialNames: this.#special.names,
      bytesOf: (id) => utf8.encode(tokens[id]!.replaceAll(END_OF_WORD, " ")),
      dropsLastSpace: true,
    };
  }

  /** Count of ids, special tokens included. */
  get vocabSize(): number {
    return this.#model.tokens.length;
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
      for (const word of splitBertWords(this.#standardize(stretch))) {
        for (const id of this.#cache.get(word)) ids.push(id);
      }
    }
    return ids;
  }

  /** The text of ids: words with one space between them. */
  decode(ids: Iterable<number>, options?: DecodeOptions): string {
    return joinText(this.#vocabulary, ids, options);
  }

  /** The bytes of that text. */
  decodeBytes(ids: Iterable<number>, options?: DecodeOptions): Uint8Array<ArrayBuffer> {
    return joinBytes(this.#vocabulary, ids, options);
  }

  /** Decodes ids that come one by one. */
  streamDecoder(options?: DecodeOptions): StreamDecoder {
    return new StreamDecoder(this.#vocabulary, options);
  }

  /** The bytes of one id, the end of a word as a space. */
  tokenBytes(id: number): Uint8Array<ArrayBuffer> {
    return bytesOf(this.#vocabulary, id);
  }

  /** The same with more special tokens. */
  withSpecialTokens(names: Iterable<string>): Gpt1Tokenizer {
    const added = grow(this.#special, this.vocabSize, names, (name) => this.#ids.has(name));
    return new Gpt1Tokenizer({
      ...this.#model,
      tokens: [...this.#model.tokens, ...added.map(([name]) => name)],
      special: [...this.#special.ids, ...added],
    });
  }

  /** The content of `tokenizer.json`. */
  toJSON(): Record<string, unknown> {
    const { tokens, merges, standardize } = this.#model;
    const bert = {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    };
    const replacements = STANDARD_CHARACTERS.map(([from, content]) => {
      return { type: "Replace", pattern: { String: from }, content };
    });
    return {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: addedTokens(this.#special),
      normalizer: standardize ? { type: "Sequence", normalizers: [...replacements, bert] } : bert,
      pre_tokenizer: { type: "BertPreTokenizer" },
      post_processor: null,
      decoder: { type: "BPEDecoder", suffix: END_OF_WORD },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: UNKNOWN,
        continuing_subword_prefix: "",
        end_of_word_suffix: END_OF_WORD,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: Object.fromEntries(this.#ids),
        merges: merges.map(([left, right]) => `${tokens[left]} ${tokens[right]}`),
      },
    };
  }

  #standardize(text: string): string {
    if (!this.#model.standardize) return text;
    return STANDARD_CHARACTERS.reduce((text, [from, to]) => text.replaceAll(from, to), text);
  }

  #merge(word: string): number[] {
    const characters = [...word];
    const last = characters.length - 1;
    return this.#table.apply(characters.map((character, i) => {
      return this.#ids.get(i === last ? character + END_OF_WORD : character) ?? this.#unknown;
    }));
  }
}

/** The two files of GPT-1's vocabulary, as text. */
export interface Gpt1Files {
  /** Content of `encoder_bpe_40000.json` (`vocab.json` in `transformers`): token to id. */
  encoder: string;
  /** Content of `vocab_40000.bpe` (`merges.txt`): a version line, then a merge a line. */
  merges: string;
}

/**
 * Makes GPT-1's tokenizer from its two files.
 *
 * @throws {CannotError} when a file is not what it should be
 */
export function gpt1Tokenizer(
  files: Gpt1Files,
  options: { standardize?: boolean } = {},
): Gpt1Tokenizer {
  const what = "GPT-1's vocabulary";
  const vocab = parseJson(files.encoder, what);
  const isMap = typeof vocab === "object" && vocab !== null;
  const tokens = tokensById(new Map(isMap ? Object.entries(vocab) : []), what);
  const unknown = tokens.indexOf(UNKNOWN);
  if (unknown === -1) throw new CannotError(`load ${what}`, `want ${UNKNOWN} in it`, "it is not");

  const [version, ...lines] = files.merges.trimEnd().split(/\r?\n/);
  if (!version?.startsWith("#version")) {
    throw new CannotError(
      "load GPT-1's merges",
      'want "#version: 0.2" as the first line',
      `got ${JSON.stringify(version?.slice(0, 40))}`,
    );
  }
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const merges = mergesById(lines, ids, "GPT-1's merges");
  return new Gpt1Tokenizer({ tokens, merges, special: [[UNKNOWN, unknown]], ...options });
}

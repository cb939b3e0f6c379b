/**
 * Training of byte-level BPE: which pairs to merge, learnt from texts.
 *
 * Every merge joins the pair of neighbours that is most frequent at that moment; of equals the one
 * with the smaller left id, then the smaller right id. That is the rule of Hugging Face's
 * `tokenizers` (models/bpe/trainer.rs), so the same merges come out in the same order. Counts are
 * kept for all pairs and changed only around each merge; a heap gives the next pair.
 *
 * @module
 */

import { BYTE_CHARACTERS, ByteLevelTokenizer, splitWords } from "./byte_level.ts";
import { Heap } from "./heap.ts";
import type { Merge } from "./merge.ts";
import { RESERVED_TOKENS, SpecialTokens } from "./special.ts";

/** How to train. */
export interface TrainBpeOptions {
  /** Count of ids wanted; fewer come out where the texts have no more pairs to merge. */
  vocabSize: number;
  /**
   * Pairs that are less frequent are not merged.
   *
   * @default {1}
   */
  minFrequency?: number;
  /**
   * Names of special tokens, which take the first ids. The texts are cut at them.
   *
   * @default {RESERVED_TOKENS}
   */
  special?: readonly string[];
}

interface Candidate {
  left: number;
  right: number;
  count: number; // what it was when the candidate was pushed
  words: number[]; // where the pair was then, ascending
}

const LARGEST_VOCABULARY = 2 ** 22;

/**
 * Trains a byte-level BPE tokenizer: special tokens, then the 256 bytes, then one token a merge.
 *
 * @example
 * ```ts
 * import { trainBpe } from "./train.ts";
 * const tokenizer = trainBpe(["low lower lowest"], { vocabSize: 258, special: [] });
 * console.assert(tokenizer.encode("low").length === 1); // "lo", then "low"
 * ```
 * @throws {RangeError} when vocabSize has no room for the bytes and the special tokens
 */
export function trainBpe(texts: Iterable<string>, options: TrainBpeOptions): ByteLevelTokenizer {
  const counts = new WordCounts(options.special);
  for (const text of texts) counts.add(text);
  return trainBpeFromCounts(counts, options);
}

/** How often each word is in the texts seen so far: all that training needs of them. */
export class WordCounts {
  /** Count of each word. */
  readonly words: Map<string, number> = new Map();
  readonly #special: SpecialTokens;

  /** For training with these special tokens. */
  constructor(special: readonly string[] = RESERVED_TOKENS) {
    this.#special = new SpecialTokens(special.map((name, id) => [name, id]));
  }

  /** Adds a text, or a part of one that was cut before white space. */
  add(text: string): void {
    for (const stretch of this.#special.split(text)) {
      if (typeof stretch === "number") continue;
      for (const word of splitWords(stretch)) {
        this.words.set(word, (this.words.get(word) ?? 0) + 1);
      }
    }
  }
}

/** {@link trainBpe} on words that were counted before. @throws {RangeError} as trainBpe */
export function trainBpeFromCounts(
  counts: WordCounts,
  { vocabSize, minFrequency = 1, special = RESERVED_TOKENS }: TrainBpeOptions,
): ByteLevelTokenizer {
  checkNames(special);
  // In vocabulary files the byte's character decides the order, not the byte.
  const tokens = [...special, ...[...BYTE_CHARACTERS].sort()];
  if (!Number.isInteger(vocabSize) || vocabSize < tokens.length || vocabSize > LARGEST_VOCABULARY) {
    throw new RangeError(
      `Cannot train a tokenizer: "vocabSize" must be an integer in [${tokens.length}, ` +
        `${LARGEST_VOCABULARY}], as 256 bytes and ${special.length} special tokens come first: ` +
        `got ${vocabSize}`,
    );
  }
  if (!Number.isInteger(minFrequency) || minFrequency < 1) {
    throw new RangeError(
      `Cannot train a tokenizer: "minFrequency" must be an integer >= 1: got ${minFrequency}`,
    );
  }
  const merges = new PairMerger(counts.words, tokens).run(vocabSize, minFrequency);
  return new ByteLevelTokenizer({ tokens, merges, special: special.map((name, id) => [name, id]) });
}

function checkNames(special: readonly string[]): void {
  const bytes = new Set(BYTE_CHARACTERS);
  for (const [id, name] of special.entries()) {
    if (name !== "" && !bytes.has(name) && special.indexOf(name) === id) continue;
    throw new RangeError(
      "Cannot train a tokenizer: names of special tokens must differ, and be longer than a " +
        `character: got "${name}"`,
    );
  }
}

class PairMerger {
  readonly #tokens: string[]; // grows with every merge
  readonly #ids: Map<string, number>;
  readonly #words: number[][] = []; // the symbols of each word; they shrink
  readonly #wordCounts: number[] = [];
  readonly #pairCounts = new Map<number, number>();
  readonly #queue = new Heap<Candidate>((a, b) =>
    a.count !== b.count
      ? a.count > b.count
      : a.left !== b.left
      ? a.left < b.left
      : a.right < b.right
  );

  constructor(words: ReadonlyMap<string, number>, tokens: string[]) {
    this.#tokens = tokens;
    this.#ids = new Map(tokens.map((token, id) => [token, id]));
    const idOfByte = BYTE_CHARACTERS.map((character) => this.#ids.get(character)!);
    const utf8 = new TextEncoder();
    for (const [word, count] of words) {
      this.#words.push(Array.from(utf8.encode(word), (byte) => idOfByte[byte]!));
      this.#wordCounts.push(count);
    }
    const found = new Map<number, number[]>();
    for (const [index, word] of this.#words.entries()) {
      for (let i = 0; i + 1 < word.length; i++) {
        this.#count(pairKey(word[i]!, word[i + 1]!), this.#wordCounts[index]!, index, found);
      }
    }
    this.#offer(found);
  }

  /** Merges until the vocabulary is full or no pair is frequent enough. */
  run(vocabSize: number, minFrequency: number): Merge[] {
    const merges: Merge[] = [];
    while (this.#tokens.length < vocabSize) {
      const top = this.#queue.pop();
      if (top === undefined) break;
      const count = this.#pairCounts.get(pairKey(top.left, top.right))!;
      if (count !== top.count) { // merges around it have taken some of it since
        if (count > 0) this.#queue.push({ ...top, count });
        continue;
      }
      if (count < minFrequency) break;
      const joined = this.#token(this.#tokens[top.left]! + this.#tokens[top.right]!);
      merges.push([top.left, top.right, joined]);
      const found = new Map<number, number[]>();
      for (const index of top.words) this.#mergeIn(index, top.left, top.right, joined, found);
      this.#offer(found);
    }
    return merges;
  }

  /** The id of a token: two merges can spell the same one. */
  #token(token: string): number {
    let id = this.#ids.get(token);
    if (id === undefined) {
      id = this.#tokens.push(token) - 1;
      this.#ids.set(token, id);
    }
    return id;
  }

  /** Merges left and right in one word, and counts the pairs that come and go. */
  #mergeIn(
    index: number,
    left: number,
    right: number,
    joined: number,
    found: Map<number, number[]>,
  ): void {
    const word = this.#words[index]!;
    const count = this.#wordCounts[index]!;
    let kept = 0; // word[0..kept) is merged, word[at..) is still to be looked at
    for (let at = 0; at < word.length; at++) {
      const symbol = word[at]!;
      if (symbol !== left || word[at + 1] !== right) {
        word[kept++] = symbol;
        continue;
      }
      if (kept > 0) {
        this.#count(pairKey(word[kept - 1]!, left), -count, index, found);
        this.#count(pairKey(word[kept - 1]!, joined), count, index, found);
      }
      if (at + 2 < word.length) {
        this.#count(pairKey(right, word[at + 2]!), -count, index, found);
        this.#count(pairKey(joined, word[at + 2]!), count, index, found);
      }
      word[kept++] = joined;
      at++;
    }
    word.length = kept;
  }

  /** Changes a pair's count, and notes the word where one has come. */
  #count(pair: number, change: number, index: number, found: Map<number, number[]>): void {
    this.#pairCounts.set(pair, (this.#pairCounts.get(pair) ?? 0) + change);
    if (change < 0) return;
    const words = found.get(pair);
    if (words === undefined) found.set(pair, [index]);
    else if (words.at(-1) !== index) words.push(index);
  }

  #offer(found: ReadonlyMap<number, number[]>): void {
    for (const [pair, words] of found) {
      const count = this.#pairCounts.get(pair)!;
      if (count === 0) continue;
      const left = Math.floor(pair / LARGEST_VOCABULARY);
      this.#queue.push({ left, right: pair % LARGEST_VOCABULARY, count, words });
    }
  }
}

function pairKey(left: number, right: number): number {
  return left * LARGEST_VOCABULARY + right; // < 2^44
}

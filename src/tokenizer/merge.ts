/**
 * Byte-pair encoding's second half: given the merges, join the symbols of one word.
 *
 * The pair of the lowest rank is joined first, the leftmost of equals, until no pair is left that
 * has a merge (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909, algorithm 1). Pairs wait in
 * a heap, so that a word of n symbols takes n log n steps: with a scan a step, a file that is one
 * long run of letters would take hours.
 *
 * @module
 */

import { Heap } from "./heap.ts";

/** Joins left and right into one symbol. */
export type Merge = readonly [left: number, right: number, joined: number];

const POSITIONS = 2 ** 31; // rank * POSITIONS + position is exact in f64 up to 2^22 ranks
const GONE = -1;

/** An ordered list of merges that can be applied to words. */
export class MergeTable {
  readonly #ranks = new Map<number, number>(); // of left * vocabSize + right
  readonly #joined: number[] = [];
  readonly #vocabSize: number;

  /** Empty, for symbols in [0, vocabSize). */
  constructor(vocabSize: number, merges: Iterable<Merge> = []) {
    this.#vocabSize = vocabSize;
    for (const merge of merges) this.add(merge);
  }

  /** Adds a merge with the next rank. A pair that has one already takes the new one. */
  add([left, right, joined]: Merge): void {
    this.#ranks.set(left * this.#vocabSize + right, this.#joined.length);
    this.#joined.push(joined);
  }

  /** The symbols of a word after all merges. */
  apply(word: readonly number[] | Uint8Array): number[] {
    const symbols = Array.from(word);
    if (symbols.length < 2) return symbols;
    // A list with links: what is joined into its left neighbour is GONE.
    const previous = Int32Array.from(symbols, (_, i) => i - 1);
    const next = Int32Array.from(symbols, (_, i) => i + 1);
    const end = symbols.length;
    const queue = new Heap<number>((a, b) => a < b);
    const offer = (at: number) => {
      const right = next[at]!;
      if (right === end) return;
      const rank = this.#ranks.get(symbols[at]! * this.#vocabSize + symbols[right]!);
      if (rank !== undefined) queue.push(rank * POSITIONS + at);
    };
    for (let at = 0; at < end - 1; at++) offer(at);

    for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
      const at = entry % POSITIONS;
      const right = next[at]!;
      if (symbols[at] === GONE || right === end) continue;
      // The pair may have changed since it was offered; what it would become decides, as in
      // `tokenizers`.
      const rank = this.#ranks.get(symbols[at]! * this.#vocabSize + symbols[right]!);
      const joined = this.#joined[Math.floor(entry / POSITIONS)]!;
      if (rank === undefined || this.#joined[rank] !== joined) continue;
      symbols[at] = joined;
      symbols[right] = GONE;
      next[at] = next[right]!;
      if (next[at]! < end) previous[next[at]!] = at;
      if (previous[at]! >= 0) offer(previous[at]!);
      offer(at);
    }
    return symbols.filter((symbol) => symbol !== GONE);
  }
}

const CACHED_WORDS = 2 ** 16;
const LONGEST_CACHED = 64; // characters; longer words hardly come twice

/** Remembers the ids of words. */
export class WordCache {
  readonly #ids = new Map<string, readonly number[]>();
  readonly #encode: (word: string) => readonly number[];

  /** `encode` is asked once a word, until the memory is full and starts anew. */
  constructor(encode: (word: string) => readonly number[]) {
    this.#encode = encode;
  }

  /** The ids of a word. */
  get(word: string): readonly number[] {
    if (word.length > LONGEST_CACHED) return this.#encode(word);
    let ids = this.#ids.get(word);
    if (ids === undefined) {
      if (this.#ids.size >= CACHED_WORDS) this.#ids.clear();
      ids = this.#encode(word);
      this.#ids.set(word, ids);
    }
    return ids;
  }
}

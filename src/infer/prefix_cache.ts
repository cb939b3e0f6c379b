/**
 * Which blocks of the cache hold the beginnings of texts, so that a text that begins like an
 * earlier one need not compute them again.
 *
 * An entry is a block of {@linkcode BLOCK_TOKENS} ids after the entry before it. Entries are found
 * by all of that and not by a hash of it, so two texts can never be taken for one another.
 *
 * @module
 */
import { BLOCK_TOKENS } from "../ops/attention_cached.ts";

interface Entry {
  /** Never used again, so that what followed an entry that is gone is not found either. */
  readonly number: number;
  readonly block: number;
}

/** The number before the first entry of a text. */
const START = 0;

/** Blocks by the ids that they and all before them hold. */
export class PrefixCache {
  readonly #entries = new Map<string, Entry>();
  readonly #keys = new Map<number, string>(); // of each block that is here
  #count = START;

  /** Blocks of the longest beginning of a text that is known, at most so many. */
  find(ids: ArrayLike<number>, most: number): number[] {
    const found: number[] = [];
    let before = START;
    while (found.length < most) {
      const entry = this.#entries.get(keyOf(before, ids, found.length));
      if (!entry) break;
      found.push(entry.block);
      before = entry.number;
    }
    return found;
  }

  /** Adds the blocks of a text. Where an equal one is known already, that one stays. */
  add(ids: ArrayLike<number>, blocks: readonly number[]): void {
    let before = START;
    blocks.forEach((block, index) => {
      const key = keyOf(before, ids, index);
      let entry = this.#entries.get(key);
      if (!entry) {
        this.remove(block); // it was after an entry that is gone
        entry = { number: ++this.#count, block };
        this.#entries.set(key, entry);
        this.#keys.set(block, key);
      }
      before = entry.number;
    });
  }

  /** Whether a block can be found. */
  has(block: number): boolean {
    return this.#keys.has(block);
  }

  /** Forgets a block. */
  remove(block: number): void {
    const key = this.#keys.get(block);
    if (key !== undefined) this.#entries.delete(key);
    this.#keys.delete(block);
  }

  /** Forgets all. */
  clear(): void {
    this.#entries.clear();
    this.#keys.clear();
  }
}

function keyOf(before: number, ids: ArrayLike<number>, index: number): string {
  let key = `${before}:`;
  const end = (index + 1) * BLOCK_TOKENS;
  for (let at = index * BLOCK_TOKENS; at < end; at++) key += `${ids[at]},`;
  return key;
}

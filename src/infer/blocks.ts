/**
 * Who has which block of the cache: counted references, and blocks that nobody needs but that are
 * kept for texts that begin alike.
 *
 * @module
 */
import { BLOCK_TOKENS } from "../ops/attention_cached.ts";
import { PrefixCache } from "./prefix_cache.ts";

/** Blocks that hold so many tokens. */
export function blocksOf(tokens: number): number {
  return Math.ceil(tokens / BLOCK_TOKENS);
}

/** The blocks of a cache. */
export class BlockPool {
  /** All there are. */
  readonly count: number;
  readonly #references: Uint32Array; // of each block
  readonly #free: number[]; // hold nothing
  readonly #idle = new Set<number>(); // can be found and have no reference; longest idle first
  readonly #prefixes = new PrefixCache();

  /** A pool of free blocks. */
  constructor(count: number) {
    this.count = count;
    this.#references = new Uint32Array(count);
    this.#free = Array.from({ length: count }, (_, index) => count - 1 - index);
  }

  /** Blocks that {@linkcode take} can give: free ones, and those that are only kept. */
  get available(): number {
    return this.#free.length + this.#idle.size;
  }

  /** Blocks with a reference. */
  get used(): number {
    return this.count - this.available;
  }

  /**
   * Blocks with one reference each, whose content is lost; the longest idle go last.
   *
   * @returns undefined when there are not enough.
   */
  take(count: number): number[] | undefined {
    if (count > this.available) return undefined;
    return Array.from({ length: count }, () => {
      const block = this.#free.pop() ?? this.#evict();
      this.#references[block] = 1;
      return block;
    });
  }

  /** One more reference to each. */
  share(blocks: readonly number[]): void {
    for (const block of blocks) {
      this.#references[block]!++;
      this.#idle.delete(block);
    }
  }

  /** One reference less to each block of a text; those without any are idle or free. */
  release(blocks: readonly number[]): void {
    // The end of a text goes first: without its beginning it is of no use.
    for (const block of blocks.toReversed()) {
      if (this.#references[block] === 0) {
        throw new Error(`Cannot release block ${block}: a reference: it has none`);
      }
      if (--this.#references[block]! > 0) continue;
      if (this.#prefixes.has(block)) this.#idle.add(block);
      else this.#free.push(block);
    }
  }

  /** Blocks of a text's beginning that are known, at most so many; not referenced yet. */
  find(ids: ArrayLike<number>, most: number): number[] {
    return this.#prefixes.find(ids, most);
  }

  /** How many of these blocks nobody has: sharing them makes as many less available. */
  idleOf(blocks: readonly number[]): number {
    return blocks.filter((block) => this.#idle.has(block)).length;
  }

  /** Lets later texts find these blocks, which are the beginning of a text. */
  publish(ids: ArrayLike<number>, blocks: readonly number[]): void {
    this.#prefixes.add(ids, blocks);
  }

  /** Forgets what every block holds: nothing can be found. */
  forget(): void {
    this.#prefixes.clear();
    this.#free.push(...this.#idle);
    this.#idle.clear();
  }

  #evict(): number {
    const [block] = this.#idle;
    this.#idle.delete(block!);
    this.#prefixes.remove(block!);
    return block!;
  }
}

/**
 * Random choices of an item, and which split a combination is of.
 *
 * The choices are a function of (seed, family, split, index) alone; the split of a combination is a
 * function of the combination alone, so that no seed's training data meets another seed's test
 * data.
 *
 * @module
 */
import { philox4x32, philoxKey, PhiloxStream, uniformFromU32 } from "../../random/philox.ts";
import { FAMILIES, type Family, type Place, type Split, SPLITS } from "./types.ts";

/** Shares of the combinations by split, in a fixed order. */
const SHARES: readonly (readonly [Split, number])[] = [["test", 0.1], ["valid", 0.1], ["train", 1]];
const INSTRUCTION_SHARES: typeof SHARES = [
  ["test", 0.12],
  ["valid", 0.12],
  ["reward", 0.2],
  ["ppo", 0.2],
  ["train", 1],
];
/** "splits" in letters; not a seed, so that all seeds agree. */
const SPLIT_KEY = [0x73706c69, 0x74730000] as const;
const MOST_TRIES = 100_000;

/** Random choices, in order. */
export class Draw {
  readonly #stream: PhiloxStream;

  /**
   * Those of a place; `sub` tells apart several streams of one place.
   *
   * @throws {RangeError} When seed or index is no count below 2^53.
   */
  constructor(family: Family, { seed, split, index }: Place, sub = 0) {
    if (!Number.isSafeInteger(index) || index < 0) {
      throw new RangeError(`Cannot make an item: "index" must be an integer >= 0: got ${index}`);
    }
    const words = philox4x32(
      [
        index >>> 0,
        Math.floor(index / 2 ** 32),
        FAMILIES.indexOf(family) * 16 + SPLITS.indexOf(split),
        sub,
      ],
      philoxKey(seed),
    );
    this.#stream = new PhiloxStream((words[0] & 0x1fffff) * 2 ** 32 + words[1], words[2]);
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.#stream.integer(high - low + 1);
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    return this.#stream.uniform();
  }

  /** True so often. */
  chance(share: number): boolean {
    return this.#stream.uniform() < share;
  }

  /** One of them. */
  pick<T>(items: readonly T[]): T {
    return items[this.#stream.integer(items.length)]!;
  }

  /** So many different ones, in random order. */
  some<T>(items: readonly T[], count: number): T[] {
    return this.shuffled(items).slice(0, count);
  }

  /** All of them, in random order. */
  shuffled<T>(items: readonly T[]): T[] {
    return this.#stream.shuffle([...items]);
  }

  /** One of them, by weights that need not add up to 1. */
  weighted<T>(items: readonly (readonly [T, number])[]): T {
    const total = items.reduce((sum, [, weight]) => sum + weight, 0);
    let left = this.uniform() * total;
    for (const [item, weight] of items) {
      left -= weight;
      if (left < 0) return item;
    }
    return items.at(-1)![0];
  }
}

/** The splits that a family has. */
export function splitsOf(family: Family): readonly Split[] {
  return sharesOf(family).map(([split]) => split);
}

function sharesOf(family: Family): typeof SHARES {
  return family === "instruction" ? INSTRUCTION_SHARES : SHARES;
}

/**
 * The split of a combination.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals(splitOf("story", "a"), splitOf("story", "a"));
 * ```
 */
export function splitOf(family: Family, combination: string): Split {
  let hash = 0x811c9dc5; // FNV-1a, 32 bits
  for (let i = 0; i < combination.length; i++) {
    hash = Math.imul(hash ^ combination.charCodeAt(i), 0x01000193) >>> 0;
  }
  const words = philox4x32([hash, combination.length, FAMILIES.indexOf(family), 0], SPLIT_KEY);
  let left = uniformFromU32(words[0]);
  for (const [split, share] of sharesOf(family)) {
    left -= share;
    if (left < 0) return split;
  }
  return "train";
}

/**
 * Proposes until a combination is of the split; a proposal may be none.
 *
 * @throws {RangeError} When the family has no such split.
 */
export function heldOut<T extends { readonly combination: string }>(
  family: Family,
  split: Split,
  propose: () => T | undefined,
): T {
  if (!splitsOf(family).includes(split)) {
    const want = `want ${splitsOf(family).join(", ")}`;
    throw new RangeError(`Cannot make items of "${family}": ${want}: got split "${split}"`);
  }
  for (let i = 0; i < MOST_TRIES; i++) {
    const found = propose();
    if (found && splitOf(family, found.combination) === split) return found;
  }
  throw new Error(`Cannot make an item of "${family}": no combination is of split "${split}"`);
}

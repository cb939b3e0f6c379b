/**
 * What a measured difference is worth: intervals and tests over items.
 *
 * Sources: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
 * 1927; B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; Q.
 * McNemar, "Note on the sampling error of the difference between correlated proportions or
 * percentages", 1947, in its exact binomial form.
 *
 * @module
 */
import { PhiloxStream } from "../random/philox.ts";

/** A value with the interval that holds the true one 95 times of 100. */
export interface Interval {
  /** As measured. */
  readonly value: number;
  /** Lower end. */
  readonly low: number;
  /** Upper end. */
  readonly high: number;
}

/** Standard deviations around the mean that hold 95 % of a normal distribution. */
const Z = 1.959963984540054;

/** Streams of the bootstrap; no other part of the program uses this one. */
const BOOTSTRAP_STREAM = 0x626f6f74; // "boot"

/**
 * Wilson's interval of a share; shares of half items, as ties are, may be given.
 *
 * @throws {RangeError} Unless 0 <= right <= items and items >= 1.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * const { value, low, high } = wilson(8, 10);
 * assertAlmostEquals(value, 0.8);
 * assertAlmostEquals(low, 0.4902, 1e-4);
 * assertAlmostEquals(high, 0.9433, 1e-4);
 * ```
 */
export function wilson(right: number, items: number): Interval {
  if (!(items >= 1) || !(right >= 0) || right > items) {
    const got = `${right} of ${items}`;
    throw new RangeError(`Cannot compute an interval: want a part of 1 or more: got ${got}`);
  }
  const share = right / items;
  const under = 1 + Z ** 2 / items;
  const centre = (share + Z ** 2 / (2 * items)) / under;
  const half = Z / under * Math.sqrt(share * (1 - share) / items + Z ** 2 / (4 * items ** 2));
  return { value: share, low: Math.max(0, centre - half), high: Math.min(1, centre + half) };
}

/** How the bootstrap draws. */
export interface BootstrapOptions {
  /** Samples. @default 1000 */
  readonly samples?: number;
  /** Of the draws. @default 0 */
  readonly seed?: number;
}

/**
 * Interval of a mean by the percentile bootstrap. Of differences of pairs it is the paired
 * bootstrap.
 *
 * @throws {RangeError} Without values.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals(bootstrapMean([2, 2, 2]), { value: 2, low: 2, high: 2 });
 * ```
 */
export function bootstrapMean(
  values: readonly number[],
  { samples = 1000, seed = 0 }: BootstrapOptions = {},
): Interval {
  const count = values.length;
  if (count === 0) throw new RangeError("Cannot compute an interval: want values: got none");
  const stream = new PhiloxStream(seed, BOOTSTRAP_STREAM);
  const means = Array.from({ length: samples }, () => {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += values[Math.floor(stream.uniform() * count)]!;
    return sum / count;
  }).sort((a, b) => a - b);
  const value = values.reduce((sum, each) => sum + each, 0) / count;
  const at = (share: number) => means[Math.min(samples - 1, Math.floor(share * samples))]!;
  return { value, low: at(0.025), high: at(0.975) };
}

/** What McNemar's test says of two ways on the same items. */
export interface McNemar {
  /** Items that only the first got right. */
  readonly onlyFirst: number;
  /** Items that only the second got right. */
  readonly onlySecond: number;
  /** Probability of a difference so large, or larger, if both were as good; two-sided, exact. */
  readonly p: number;
}

/**
 * McNemar's exact test.
 *
 * @throws {RangeError} Unless both are of the same items.
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * const first = [1, 1, 1, 1, 1, 1, 0, 0].map(Boolean);
 * const second = [0, 0, 0, 0, 0, 0, 1, 0].map(Boolean);
 * assertAlmostEquals(mcNemar(first, second).p, 2 * (1 + 7) / 2 ** 7);
 * ```
 */
export function mcNemar(first: readonly boolean[], second: readonly boolean[]): McNemar {
  if (first.length !== second.length) {
    const got = `${first.length} and ${second.length}`;
    throw new RangeError(`Cannot test a difference: want the same items twice: got ${got}`);
  }
  const onlyFirst = first.filter((right, i) => right && !second[i]).length;
  const onlySecond = second.filter((right, i) => right && !first[i]).length;
  return { onlyFirst, onlySecond, p: mcNemarP(onlyFirst, onlySecond) };
}

/**
 * McNemar's p of how many items only the first and only the second got right.
 *
 * @example Five items that only one gets right: 2 / 2^5
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals([mcNemarP(5, 0), mcNemarP(0, 0)], [0.0625, 1]);
 * ```
 */
export function mcNemarP(onlyFirst: number, onlySecond: number): number {
  const trials = onlyFirst + onlySecond;
  if (trials === 0) return 1;
  // Logarithms, as 2^-trials is no number for many items.
  let [logChoose, tail] = [0, 0];
  for (let k = 0; k <= Math.min(onlyFirst, onlySecond); k++) {
    tail += Math.exp(logChoose - trials * Math.LN2);
    logChoose += Math.log(trials - k) - Math.log(k + 1);
  }
  return Math.min(1, 2 * tail);
}

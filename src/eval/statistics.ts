/**
 * How sure a measurement is: intervals of one, and of the difference of two on the same items.
 *
 * Sources: E. B. Wilson, "Probable inference, the law of succession, and statistical inference"
 * (1927); B. Efron, R. Tibshirani, "An introduction to the bootstrap" (1993), chapter 13 for the
 * percentile interval; Q. McNemar, "Note on the sampling error of the difference between correlated
 * proportions" (1947), in its exact form.
 *
 * @module
 */
import { PhiloxStream } from "../random/philox.ts";

/** Standard normal quantile of 97.5 %. */
const Z = 1.959963984540054;

/** Draws of a bootstrap, and their seed. */
const RESAMPLES = 2000;
const SEED = 20_260_801;

/** The ends of an interval. */
export type Interval = readonly [low: number, high: number];

/**
 * Wilson's 95 % interval of a share.
 *
 * @example
 * ```ts
 * import { wilson } from "./statistics.ts";
 * const [low, high] = wilson(8, 10);
 * console.assert(low.toFixed(4) === "0.4902" && high.toFixed(4) === "0.9433");
 * ```
 */
export function wilson(successes: number, count: number): Interval {
  const share = successes / count;
  const scale = 1 / (1 + Z ** 2 / count);
  const middle = scale * (share + Z ** 2 / (2 * count));
  const half = scale * Z * Math.sqrt(share * (1 - share) / count + Z ** 2 / (4 * count ** 2));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

/**
 * The percentile bootstrap's 95 % interval of a statistic of items, which is a function of sums over
 * them. The same items have the same interval.
 *
 * @param rows (items, summands)
 * @param statistic of the sums, and of how many items they are of
 * @returns undefined for fewer than two items
 */
export function bootstrap(
  rows: readonly (readonly number[])[],
  statistic: (sums: readonly number[], count: number) => number,
): Interval | undefined {
  const count = rows.length;
  if (count < 2) return undefined;
  const random = new PhiloxStream(SEED, 0);
  const values: number[] = [];
  for (let draw = 0; draw < RESAMPLES; draw++) {
    const sums = rows[0]!.map(() => 0);
    for (let i = 0; i < count; i++) {
      const row = rows[random.integer(count)]!;
      for (let k = 0; k < sums.length; k++) sums[k]! += row[k]!;
    }
    values.push(statistic(sums, count));
  }
  return [quantile(values, 0.025), quantile(values, 0.975)];
}

/** The value below which a share of the values lies, between its neighbours. */
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const [low, high] = [sorted[below]!, sorted[Math.min(below + 1, sorted.length - 1)]!];
  return low === high ? low : low + (at - below) * (high - low);
}

/**
 * McNemar's exact test of two systems on the same items: how likely it is, were both equally good, that
 * those items on which only one of them is right are split so unevenly.
 *
 * @example Five items that only one gets right: 2 / 2^5
 * ```ts
 * import { mcnemar } from "./statistics.ts";
 * console.assert(mcnemar(5, 0) === 0.0625 && mcnemar(0, 0) === 1);
 * ```
 */
export function mcnemar(onlyFirst: number, onlySecond: number): number {
  const count = onlyFirst + onlySecond;
  if (count === 0) return 1;
  // Logarithms, as 2^-count is no number for many items.
  let logChoose = 0;
  let tail = 0;
  for (let k = 0; k <= Math.min(onlyFirst, onlySecond); k++) {
    tail += Math.exp(logChoose - count * Math.LN2);
    logChoose += Math.log(count - k) - Math.log(k + 1);
  }
  return Math.min(1, 2 * tail);
}

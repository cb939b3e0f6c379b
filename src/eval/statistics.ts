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
import { wilson as shareInterval } from "../run/statistics.ts";

export { mcNemarP as mcnemar } from "../run/statistics.ts";

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
  const { low, high } = shareInterval(successes, count);
  return [low, high];
}

/**
 * The percentile bootstrap's 95 % interval of a statistic of items, which is a function of sums
 * over them. The same items have the same interval.
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

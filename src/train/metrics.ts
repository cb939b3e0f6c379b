/**
 * Measures of predictions: of classes, and of scores.
 *
 * @module
 */
import { PhiloxStream } from "../random/philox.ts";

/**
 * Share of predictions that are right.
 *
 * @throws {RangeError} When there are none, or not one for each label.
 */
export function accuracy(predicted: ArrayLike<number>, labels: ArrayLike<number>): number {
  const N = checkLengths(predicted, labels);
  let right = 0;
  for (let n = 0; n < N; n++) if (predicted[n] === labels[n]) right++;
  return right / N;
}

/**
 * F1 of one class: 2 tp / (2 tp + fp + fn); 0 where it is neither predicted nor a label.
 *
 * @throws {RangeError} As {@linkcode accuracy}.
 */
export function f1(
  predicted: ArrayLike<number>,
  labels: ArrayLike<number>,
  positive: number,
): number {
  const N = checkLengths(predicted, labels);
  let [both, either] = [0, 0];
  for (let n = 0; n < N; n++) {
    const [p, l] = [predicted[n] === positive ? 1 : 0, labels[n] === positive ? 1 : 0];
    both += p * l;
    either += p + l;
  }
  return either === 0 ? 0 : 2 * both / either;
}

/** The mean of {@linkcode f1} over all classes. @throws {RangeError} As {@linkcode accuracy}. */
export function macroF1(
  predicted: ArrayLike<number>,
  labels: ArrayLike<number>,
  classes: number,
): number {
  let sum = 0;
  for (let k = 0; k < classes; k++) sum += f1(predicted, labels, k);
  return sum / classes;
}

/**
 * Matthews' correlation, of any number of classes; 0 where all labels or all predictions are one.
 *
 * Source: J. Gorodkin, "Comparing two K-category assignments by a K-category correlation
 * coefficient", 2004, equation 8.
 *
 * @throws {RangeError} As {@linkcode accuracy}.
 */
export function matthews(predicted: ArrayLike<number>, labels: ArrayLike<number>): number {
  const N = checkLengths(predicted, labels);
  const counts = new Map<number, { p: number; l: number }>();
  const count = (k: number) => counts.get(k) ?? counts.set(k, { p: 0, l: 0 }).get(k)!;
  let right = 0;
  for (let n = 0; n < N; n++) {
    count(predicted[n]!).p++;
    count(labels[n]!).l++;
    if (predicted[n] === labels[n]) right++;
  }
  let [pl, pp, ll] = [0, 0, 0];
  for (const { p, l } of counts.values()) {
    pl += p * l;
    pp += p * p;
    ll += l * l;
  }
  const spread = Math.sqrt(N * N - pp) * Math.sqrt(N * N - ll);
  return spread === 0 ? 0 : (right * N - pl) / spread;
}

/**
 * Pearson's correlation; 0 where either side is constant.
 *
 * @throws {RangeError} As {@linkcode accuracy}.
 */
export function pearson(predicted: ArrayLike<number>, labels: ArrayLike<number>): number {
  const N = checkLengths(predicted, labels);
  const mean = (x: ArrayLike<number>) => Array.from(x).reduce((sum, value) => sum + value, 0) / N;
  const [p0, l0] = [mean(predicted), mean(labels)];
  let [pl, pp, ll] = [0, 0, 0];
  for (let n = 0; n < N; n++) {
    const [p, l] = [predicted[n]! - p0, labels[n]! - l0];
    pl += p * l;
    pp += p * p;
    ll += l * l;
  }
  const spread = Math.sqrt(pp) * Math.sqrt(ll);
  return spread === 0 ? 0 : pl / spread;
}

/** Pearson's correlation of the ranks. @throws {RangeError} As {@linkcode accuracy}. */
export function spearman(predicted: ArrayLike<number>, labels: ArrayLike<number>): number {
  return pearson(ranks(predicted), ranks(labels));
}

/**
 * Ranks from 1; equal values share the mean of theirs.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals([...ranks([5, 1, 5, 0])], [3.5, 2, 3.5, 1]);
 * ```
 */
export function ranks(values: ArrayLike<number>): Float64Array {
  const order = Array.from(values, (_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const result = new Float64Array(values.length);
  for (let start = 0; start < order.length;) {
    let end = start + 1;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (let i = start; i < end; i++) result[order[i]!] = (start + 1 + end) / 2;
    start = end;
  }
  return result;
}

/**
 * Wilson's interval of a share, at 95 %.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * const [low, high] = wilson(0.8, 872);
 * assert(low > 0.77 && low < 0.78 && high > 0.82 && high < 0.83);
 * ```
 */
export function wilson(share: number, count: number): [low: number, high: number] {
  const z = 1.959964; // 97.5 % of N(0, 1) lie below
  const middle = (share + z * z / (2 * count)) / (1 + z * z / count);
  const half = z / (1 + z * z / count) *
    Math.sqrt(share * (1 - share) / count + z * z / (4 * count * count));
  return [middle - half, middle + half];
}

/** Draws below a seed; no other part of the program uses this stream. */
const BOOTSTRAP_STREAM = 0x626f6f74; // "boot"

/**
 * Interval of a measure at 95 %, by the percentiles of its values over examples that are drawn
 * anew, as many as there are, each with its label.
 *
 * Source: B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.
 *
 * @param measure as {@linkcode pearson}
 * @throws {RangeError} As {@linkcode accuracy}, or when there are fewer than 40 samples, which have
 * no such percentiles.
 *
 * @example
 * ```ts
 * import { assert } from "@std/assert";
 * const labels = Array.from({ length: 200 }, (_, i) => i);
 * const predicted = labels.map((label, i) => label + 50 * Math.sin(7 * i));
 * const [low, high] = bootstrap(pearson, predicted, labels);
 * const middle = pearson(predicted, labels);
 * assert(low < middle && middle < high && high - low < 0.1);
 * ```
 */
export function bootstrap(
  measure: (predicted: ArrayLike<number>, labels: ArrayLike<number>) => number,
  predicted: ArrayLike<number>,
  labels: ArrayLike<number>,
  { samples = 2000, seed = 0 }: { samples?: number; seed?: number } = {},
): [low: number, high: number] {
  const N = checkLengths(predicted, labels);
  if (samples < 40) {
    throw new RangeError(`Cannot bootstrap an interval: 40 samples or more: got ${samples}`);
  }
  const stream = new PhiloxStream(seed, BOOTSTRAP_STREAM);
  const [p, l] = [new Float64Array(N), new Float64Array(N)];
  const values = Float64Array.from({ length: samples }, () => {
    for (let n = 0; n < N; n++) {
      const drawn = stream.integer(N);
      p[n] = predicted[drawn]!;
      l[n] = labels[drawn]!;
    }
    return measure(p, l);
  }).sort();
  const at = (share: number) => values[Math.round(share * (samples - 1))]!;
  return [at(0.025), at(0.975)];
}

function checkLengths(predicted: ArrayLike<number>, labels: ArrayLike<number>): number {
  const N = labels.length;
  if (N > 0 && predicted.length === N) return N;
  throw new RangeError(
    `Cannot measure predictions: one for each of 1 or more labels: ` +
      `got ${predicted.length} for ${N}`,
  );
}

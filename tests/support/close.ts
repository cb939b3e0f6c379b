/**
 * Numeric comparison with a failure message that says what to look at.
 *
 * @module
 */

import { AssertionError } from "@std/assert";

/** How far apart two elements may be: |actual - expected| <= atol + rtol |expected| + bound[i]. */
export interface CloseOptions {
  /** Relative part. @default 0 */
  rtol?: number | undefined;
  /** Absolute part. @default 0 */
  atol?: number | undefined;
  /** A bound of its own for each element, from an error analysis (see tolerance.ts). */
  bound?: ArrayLike<number> | undefined;
  /** What is compared, for the message. */
  label?: string | undefined;
}

const SHOWN = 5;

/**
 * Assert that two numbers, or two arrays of numbers, agree within the options' bounds.
 * NaN never passes; an infinity passes only against the same infinity.
 * @throws {AssertionError} with the largest error, its index and the first five that differ
 */
export function assertClose(
  actual: number | ArrayLike<number>,
  expected: number | ArrayLike<number>,
  options: CloseOptions = {},
): void {
  const { rtol = 0, atol = 0, bound, label = "values" } = options;
  const got: ArrayLike<number> = typeof actual === "number" ? [actual] : actual;
  const want: ArrayLike<number> = typeof expected === "number" ? [expected] : expected;
  if (got.length !== want.length) {
    throw new AssertionError(`${label}: lengths differ: got ${got.length}, want ${want.length}`);
  }
  let failedCount = 0;
  let nanCount = 0;
  let worstIndex = -1;
  let worstError = -1;
  const first: string[] = [];
  for (let i = 0; i < got.length; i++) {
    const a = got[i]!;
    const e = want[i]!;
    const allowed = atol + rtol * Math.abs(e) + (bound === undefined ? 0 : bound[i]!);
    const difference = Math.abs(a - e);
    // Written so that a NaN (in a, e or the bound) fails; equal infinities have difference NaN.
    if (a === e || (Number.isFinite(difference) && difference <= allowed)) continue;
    failedCount++;
    const isNan = Number.isNaN(a) || Number.isNaN(e);
    if (isNan) nanCount++;
    const error = isNan ? Infinity : difference;
    if (error > worstError) {
      worstError = error;
      worstIndex = i;
    }
    if (first.length < SHOWN) {
      first.push(`  [${i}] got ${a}, want ${e}, error ${difference}, allowed ${allowed}`);
    }
  }
  if (failedCount === 0) return;
  throw new AssertionError(
    `${label}: ${failedCount} of ${got.length} differ (${nanCount} NaN); ` +
      `max error ${worstError} at [${worstIndex}]: got ${got[worstIndex]}, ` +
      `want ${want[worstIndex]}; rtol ${rtol}, atol ${atol}\n${first.join("\n")}`,
  );
}

/**
 * Assert that two arrays are the same to the bit. `assertEquals` takes minutes to say how long ones
 * differ.
 * @throws {AssertionError} with how many differ, and the first
 */
export function assertBits(actual: Float32Array, expected: Float32Array, label = "values"): void {
  const [got, want] = [actual, expected].map((x) =>
    new Uint32Array(x.buffer, x.byteOffset, x.length)
  ) as [Uint32Array, Uint32Array];
  if (got.length !== want.length) {
    throw new AssertionError(`${label}: lengths differ: got ${got.length}, want ${want.length}`);
  }
  let count = 0;
  let first = -1;
  for (let i = 0; i < got.length; i++) {
    if (got[i] === want[i]) continue;
    if (count++ === 0) first = i;
  }
  if (count === 0) return;
  throw new AssertionError(
    `${label}: the bits of ${count} of ${got.length} differ, first [${first}]: ` +
      `got ${actual[first]}, want ${expected[first]}`,
  );
}

/** max |actual - expected| / max |expected|: one figure for a report, not a test. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let error = 0;
  let scale = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!);
    if (Number.isNaN(difference)) return NaN;
    error = Math.max(error, difference);
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  return scale === 0 ? error : error / scale;
}

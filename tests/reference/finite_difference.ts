/**
 * Numeric derivatives, to prove the backward formulas of the f64 twins.
 *
 * @module
 */

import { assertClose } from "../support/close.ts";

/**
 * df/dx[i] = (f(x + eps) - f(x - eps)) / (2 eps); x is f's own array and is restored.
 * The error is about eps^2 |f'''| / 6 + 1e-16 |f| / eps.
 */
export function centralDifference(
  f: () => number,
  x: Float64Array,
  i: number,
  eps = 1e-5,
): number {
  const held = x[i]!;
  x[i] = held + eps;
  const above = f();
  x[i] = held - eps;
  const below = f();
  x[i] = held;
  return (above - below) / (2 * eps);
}

/** Options of {@link assertGradient}. */
export interface GradientOptions {
  /** @default 1e-5 */
  eps?: number | undefined;
  /** @default 1e-6 */
  rtol?: number | undefined;
  /** @default 1e-8 */
  atol?: number | undefined;
  /** What is checked, for the message. */
  label?: string | undefined;
}

/**
 * Assert that `analytic` is the gradient of f with respect to every element of x.
 * @throws {AssertionError} listing the elements that differ
 */
export function assertGradient(
  f: () => number,
  x: Float64Array,
  analytic: ArrayLike<number>,
  { eps = 1e-5, rtol = 1e-6, atol = 1e-8, label = "gradient" }: GradientOptions = {},
): void {
  const numeric = x.map((_, i) => centralDifference(f, x, i, eps));
  assertClose(analytic, numeric, { rtol, atol, label });
}

/** Sum of out[i] seed[i]: a scalar loss whose gradient with respect to out is `seed`. */
export function weightedSum(out: ArrayLike<number>, seed: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < out.length; i++) total += out[i]! * seed[i]!;
  return total;
}

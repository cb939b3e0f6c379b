/**
 * Slow f64 twins of the reductions.
 *
 * @module
 */

/** Sum of all elements. */
export function sum(x: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < x.length; i++) total += x[i]!;
  return total;
}

/** Sum of the squares of all elements. */
export function sumOfSquares(x: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < x.length; i++) total += x[i]! * x[i]!;
  return total;
}

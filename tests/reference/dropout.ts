/**
 * Slow f64 twins of dropout, with its mask from Philox, and of the residual sum.
 *
 * Source: N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
 * Overfitting", JMLR 15, 2014, in the inverted form (kept values are scaled in training).
 *
 * @module
 */

import { philox4x32, type PhiloxKey, uniformFromU32 } from "../../src/random/philox.ts";

/** Where the random words of a mask come from, and the probability to drop. */
export interface DropoutMaskOptions {
  /** Probability to drop, in [0, 1). */
  p: number;
  /** Philox key. */
  key: PhiloxKey;
  /** Counter words 1, 2 and 3 (for instance layer, step, site); word 0 is floor(i / 4). */
  counter?: readonly [number, number, number] | undefined;
}

/**
 * Mask of `count` elements: 0, or 1 / (1 - p) to keep.
 * Element i uses word i mod 4 of philox([floor(i / 4), ...counter], key) and is kept when its
 * uniform is >= p, with p rounded to f32 so that a kernel decides alike.
 */
export function dropoutMask(
  count: number,
  { p, key, counter = [0, 0, 0] }: DropoutMaskOptions,
): Float64Array {
  const mask = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const words = philox4x32([Math.floor(i / 4), ...counter], key);
    mask[i] = uniformFromU32(words[i % 4]!) >= Math.fround(p) ? 1 / (1 - p) : 0;
  }
  return mask;
}

/** out = inp mask, any shape. */
export function dropoutForward(inp: ArrayLike<number>, mask: ArrayLike<number>): Float64Array {
  return Float64Array.from({ length: inp.length }, (_, i) => inp[i]! * mask[i]!);
}

/** dinp = dout mask, any shape. */
export function dropoutBackward(dout: ArrayLike<number>, mask: ArrayLike<number>): Float64Array {
  return dropoutForward(dout, mask);
}

/** out = a + b, any shape; the gradient of each is dout itself. */
export function residualForward(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  return Float64Array.from({ length: a.length }, (_, i) => a[i]! + b[i]!);
}

/** da = dout, db = dout, any shape. */
export function residualBackward(
  dout: ArrayLike<number>,
): { da: Float64Array; db: Float64Array } {
  return { da: Float64Array.from(dout), db: Float64Array.from(dout) };
}

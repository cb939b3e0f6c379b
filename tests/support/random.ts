/**
 * Seeded test data: the same numbers on every machine and in every run.
 *
 * @module
 */

import { PhiloxStream } from "../../src/random/philox.ts";

/** `count` uniform f32 values in [low, high). */
export function uniform(
  seed: number,
  count: number,
  low = -1,
  high = 1,
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  new PhiloxStream(seed).fillUniform(values, low, high);
  return values;
}

/** `count` f32 values from N(0, std^2). */
export function normal(seed: number, count: number, std = 1): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  new PhiloxStream(seed).fillNormal(values, 0, std);
  return values;
}

/** `count` integers in [0, bound), for token ids, targets and row indices. */
export function integers(seed: number, count: number, bound: number): Uint32Array<ArrayBuffer> {
  const stream = new PhiloxStream(seed);
  return Uint32Array.from({ length: count }, () => stream.integer(bound));
}

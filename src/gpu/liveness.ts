/**
 * Which activations can share a buffer: pure bookkeeping, no device.
 *
 * @module
 */

/** A value alive from the first to the last use of it, both included. */
export interface Interval {
  /** Bytes of the value. */
  readonly sizeBytes: number;
  /** Step of the first use. */
  readonly first: number;
  /** Step of the last use. */
  readonly last: number;
}

/** A slot for each interval, and the bytes each slot must hold. */
export interface Colouring {
  /** Slot of each interval, in the order given. */
  readonly slotOf: readonly number[];
  /** Bytes of each slot. */
  readonly slotBytes: readonly number[];
}

/**
 * Gives intervals that overlap different slots.
 *
 * A slot is free only after the last use of its value: one dispatch may then never read and write
 * one buffer, which WebGPU forbids. In order of first use, a value takes the tightest free slot
 * that holds it, else the largest free one, grown, else a new one.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const { slotOf } = colour([
 *   { sizeBytes: 64, first: 0, last: 1 },
 *   { sizeBytes: 64, first: 1, last: 2 },
 *   { sizeBytes: 32, first: 2, last: 3 },
 * ]);
 * assertEquals(slotOf, [0, 1, 0]);
 * ```
 */
export function colour(intervals: readonly Interval[]): Colouring {
  const order = intervals.map((_, index) => index)
    .sort((a, b) => intervals[a]!.first - intervals[b]!.first || a - b);
  const slotOf: number[] = new Array(intervals.length).fill(-1);
  const slotBytes: number[] = [];
  const busyUntil: number[] = [];
  for (const index of order) {
    const { sizeBytes, first, last } = intervals[index]!;
    let best = -1;
    for (let slot = 0; slot < slotBytes.length; slot++) {
      if (busyUntil[slot]! >= first) continue;
      if (best < 0) best = slot;
      const fits = slotBytes[slot]! >= sizeBytes;
      const bestFits = slotBytes[best]! >= sizeBytes;
      const smaller = slotBytes[slot]! < slotBytes[best]!;
      if (fits ? !bestFits || smaller : !bestFits && !smaller) best = slot;
    }
    if (best < 0) {
      best = slotBytes.length;
      slotBytes.push(0);
    }
    slotBytes[best] = Math.max(slotBytes[best]!, sizeBytes);
    busyUntil[best] = last;
    slotOf[index] = best;
  }
  return { slotOf, slotBytes };
}

/**
 * Buckets: for each row of a table that a batch uses, the places that use it. Built on the host, so
 * that the gradient of an embedding is a sum in a fixed order, without atomics and without a pass
 * over the whole vocabulary.
 *
 * @module
 */

/** Elements of the u32 tensor that holds the buckets of at most `capacity` ids. */
export function bucketsLength(capacity: number): number {
  return 3 * capacity + 2;
}

/**
 * Groups equal ids.
 *
 * Layout, for U distinct ids and a capacity of K:
 *
 *     [0]                    U
 *     [1, 1 + K)             the distinct ids, ascending; U of them are set
 *     [1 + K, 2 + 2 K)       starts: bucket u is members[starts[u] … starts[u + 1] - 1]; U + 1 are set
 *     [2 + 2 K, 2 + 3 K)     members: indices into ids, ascending in each bucket
 *
 * @param capacity The most ids that the tensor is to hold. @default ids.length
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals([...buildBuckets(Uint32Array.of(7, 3, 7))], [2, 3, 7, 0, 0, 1, 3, 0, 1, 0, 2]);
 * ```
 *
 * @throws {RangeError} When there are more ids than the capacity, or none.
 */
export function buildBuckets(
  ids: Uint32Array,
  capacity: number = ids.length,
): Uint32Array<ArrayBuffer> {
  const N = ids.length;
  if (N === 0 || N > capacity) {
    throw new RangeError(`Cannot build buckets: 1 to ${capacity} ids: got ${N}`);
  }
  const counts = new Map<number, number>();
  for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  const rows = Uint32Array.from(counts.keys()).sort();
  const U = rows.length;
  const result = new Uint32Array(bucketsLength(capacity));
  result[0] = U;
  result.set(rows, 1);
  const starts = result.subarray(1 + capacity, 2 + 2 * capacity);
  const members = result.subarray(2 + 2 * capacity);
  const next = counts; // where the next member of an id goes
  let start = 0;
  for (let u = 0; u < U; u++) {
    const row = rows[u]!;
    const count = counts.get(row)!;
    starts[u] = start;
    next.set(row, start);
    start += count;
  }
  starts[U] = start;
  for (let n = 0; n < N; n++) {
    const at = next.get(ids[n]!)!;
    members[at] = n;
    next.set(ids[n]!, at + 1);
  }
  return result;
}

/**
 * Checks ids on the host.
 *
 * @throws {RangeError} Naming position and value of the first id that is not below `bound`.
 */
export function checkIds(ids: Uint32Array, bound: number, label = "ids"): void {
  const at = ids.findIndex((id) => id >= bound);
  if (at < 0) return;
  throw new RangeError(
    `Cannot use ${label}: values below ${bound}: got ${ids[at]} at position ${at}`,
  );
}

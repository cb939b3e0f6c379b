/**
 * Packing: which texts share a row, so that little of it is padding.
 *
 * @module
 */

/**
 * Puts texts into as few rows of T tokens as best fit, longest first, finds: each goes into the row
 * that it leaves the least room in. A function of the lengths alone.
 *
 * @param lengths of the texts, from 1
 * @returns for each row the indices of its texts, ascending
 * @throws {RangeError} When a text is longer than a row.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals(packRows([5, 3, 7, 3], 10), [[1, 2], [0, 3]]);
 * ```
 */
export function packRows(lengths: readonly number[], T: number): number[][] {
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const rows: number[][] = [];
  const byRoom: number[][][] = Array.from({ length: T + 1 }, () => []);
  for (const i of order) {
    const length = lengths[i]!;
    if (!(length <= T)) {
      throw new RangeError(`Cannot pack rows: texts of at most ${T} tokens: got ${length}`);
    }
    let room = length;
    while (room < T && byRoom[room]!.length === 0) room++;
    let row = byRoom[room]!.pop();
    if (!row) rows.push(row = []);
    row.push(i);
    byRoom[room - length]!.push(row);
  }
  return rows.map((row) => row.sort((a, b) => a - b));
}

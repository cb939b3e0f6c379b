/**
 * Slow f64 twins of row gather and of its gradient, scatter-add.
 *
 * @module
 */

/** out[m, :] = inp[indices[m], :], shape (M, C) with M = indices.length. */
export function gatherRows(
  inp: ArrayLike<number>, // (R, C)
  indices: ArrayLike<number>, // (M)
  { C }: { C: number },
): Float64Array {
  const out = new Float64Array(indices.length * C);
  for (let m = 0; m < indices.length; m++) {
    for (let c = 0; c < C; c++) out[m * C + c] = inp[indices[m]! * C + c]!;
  }
  return out;
}

/** dinp[r, :] = sum of dout[m, :] over the m with indices[m] = r, shape (R, C). */
export function scatterAddRows(
  dout: ArrayLike<number>, // (M, C)
  indices: ArrayLike<number>, // (M)
  { R, C }: { R: number; C: number },
): Float64Array {
  const dinp = new Float64Array(R * C);
  for (let m = 0; m < indices.length; m++) {
    for (let c = 0; c < C; c++) dinp[indices[m]! * C + c]! += dout[m * C + c]!;
  }
  return dinp;
}

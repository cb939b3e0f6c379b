/**
 * Slow f64 twin of the token and position embedding.
 *
 * @module
 */

/** Dims and positions. */
export interface EmbeddingOptions {
  B: number;
  T: number;
  C: number;
  /** Row of wpe for each token. @default t for token (b, t) */
  positions?: ArrayLike<number> | undefined; // (B, T)
}

/** out[b, t, :] = wte[ids[b, t], :] + wpe[position, :], shape (B, T, C). */
export function embeddingForward(
  ids: ArrayLike<number>, // (B, T)
  wte: ArrayLike<number>, // (Vp, C)
  wpe: ArrayLike<number>, // (positions, C)
  { B, T, C, positions }: EmbeddingOptions,
): Float64Array {
  const out = new Float64Array(B * T * C);
  for (let b = 0; b < B; b++) {
    for (let t = 0; t < T; t++) {
      const n = b * T + t;
      const position = positions === undefined ? t : positions[n]!;
      for (let c = 0; c < C; c++) {
        out[n * C + c] = wte[ids[n]! * C + c]! + wpe[position * C + c]!;
      }
    }
  }
  return out;
}

/** dwte (Vp, C) and dwpe (maxT, C) of {@link embeddingForward}: rows used twice add up. */
export function embeddingBackward(
  dout: ArrayLike<number>, // (B, T, C)
  ids: ArrayLike<number>, // (B, T)
  { B, T, C, Vp, maxT, positions }: EmbeddingOptions & {
    /** Rows of wte. */
    Vp: number;
    /** Rows of wpe. */
    maxT: number;
  },
): { dwte: Float64Array; dwpe: Float64Array } {
  const dwte = new Float64Array(Vp * C);
  const dwpe = new Float64Array(maxT * C);
  for (let b = 0; b < B; b++) {
    for (let t = 0; t < T; t++) {
      const n = b * T + t;
      const position = positions === undefined ? t : positions[n]!;
      for (let c = 0; c < C; c++) {
        dwte[ids[n]! * C + c]! += dout[n * C + c]!;
        dwpe[position * C + c]! += dout[n * C + c]!;
      }
    }
  }
  return { dwte, dwpe };
}

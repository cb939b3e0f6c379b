/**
 * Slow f64 twin of softmax cross-entropy over a padded vocabulary.
 *
 * @module
 */

/** Dims, mask and scale. */
export interface CrossEntropyOptions {
  N: number;
  /** Live columns. */
  V: number;
  /** Columns a row, V <= Vp; the padded ones are never in the softmax. */
  Vp: number;
  /** Weight of each row; where it is 0 the target is not looked at. @default all 1 */
  mask?: ArrayLike<number> | undefined; // (N)
  /** Factor of the gradient: 1 / unmasked tokens of the step. @default 1 */
  scale?: number | undefined;
}

/**
 * losses[n] = mask[n] (lse[n] - logits[n, target]), without `scale`, and 0 where mask[n] is 0;
 * dlogits = scale mask (softmax - onehot) = d(scale sum_n losses[n]) / dlogits, 0 where padded.
 */
export function crossEntropy(
  logits: ArrayLike<number>, // (N, Vp)
  targets: ArrayLike<number>, // (N)
  { N, V, Vp, mask, scale = 1 }: CrossEntropyOptions,
): {
  losses: Float64Array; // (N)
  dlogits: Float64Array; // (N, Vp)
  lse: Float64Array; // (N), log of the sum of exp over the live columns
} {
  const losses = new Float64Array(N);
  const dlogits = new Float64Array(N * Vp);
  const lse = new Float64Array(N);
  for (let n = 0; n < N; n++) {
    const row = n * Vp; // seek to logits[n, :]
    let max = -Infinity;
    for (let v = 0; v < V; v++) max = Math.max(max, logits[row + v]!);
    let sum = 0;
    for (let v = 0; v < V; v++) sum += Math.exp(logits[row + v]! - max);
    lse[n] = max + Math.log(sum);
    const weight = mask === undefined ? 1 : mask[n]!;
    if (weight === 0) continue;
    losses[n] = weight * (max - logits[row + targets[n]!]! + Math.log(sum));
    for (let v = 0; v < V; v++) {
      const softmax = Math.exp(logits[row + v]! - max) / sum;
      dlogits[row + v] = scale * weight * (softmax - (v === targets[n]! ? 1 : 0));
    }
  }
  return { losses, dlogits, lse };
}

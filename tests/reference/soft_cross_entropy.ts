/**
 * Slow f64 twin of softmax cross-entropy against soft labels.
 *
 * @module
 */

/**
 * losses[n] = Σ_k labels[n, k] (lse[n] - logits[n, k]), without `scale`;
 * dlogits = scale (softmax Σ_k labels - labels) = d(scale Σ_n losses[n]) / dlogits.
 */
export function softCrossEntropy(
  logits: ArrayLike<number>, // (N, K)
  labels: ArrayLike<number>, // (N, K)
  { N, K, scale = 1 }: { N: number; K: number; scale?: number },
): {
  losses: Float64Array; // (N)
  dlogits: Float64Array; // (N, K)
} {
  const losses = new Float64Array(N);
  const dlogits = new Float64Array(N * K);
  for (let n = 0; n < N; n++) {
    const row = n * K; // seek to logits[n, :]
    let max = -Infinity;
    let weight = 0;
    for (let k = 0; k < K; k++) {
      max = Math.max(max, logits[row + k]!);
      weight += labels[row + k]!;
    }
    let sum = 0;
    for (let k = 0; k < K; k++) sum += Math.exp(logits[row + k]! - max);
    if (weight === 0) continue;
    for (let k = 0; k < K; k++) {
      const nll = max + Math.log(sum) - logits[row + k]!;
      losses[n]! += labels[row + k]! * nll;
      dlogits[row + k] = scale * (weight * Math.exp(-nll) - labels[row + k]!);
    }
  }
  return { losses, dlogits };
}

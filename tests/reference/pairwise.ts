/**
 * Slow f64 twin of the logistic loss of comparisons.
 *
 * @module
 */

/**
 * losses[e, i] = Σ_j weights[e, i, j] · −log σ(scores[e, i] − scores[e, j]), without `scale`;
 * dscores = d(scale Σ losses) / dscores.
 */
export function pairwise(
  scores: ArrayLike<number>, // (E, K)
  weights: ArrayLike<number>, // (E, K, K)
  { E, K, scale = 1 }: { E: number; K: number; scale?: number },
): {
  losses: Float64Array; // (E K)
  dscores: Float64Array; // (E K)
} {
  const losses = new Float64Array(E * K);
  const dscores = new Float64Array(E * K);
  for (let e = 0; e < E; e++) {
    for (let i = 0; i < K; i++) {
      for (let j = 0; j < K; j++) {
        const weight = weights[(e * K + i) * K + j]!;
        const [better, worse] = [e * K + i, e * K + j];
        const margin = scores[better]! - scores[worse]!;
        // -log σ(d) = log(1 + exp(-d)), without an overflow for a large -d.
        losses[better]! += weight *
          (Math.max(-margin, 0) + Math.log1p(Math.exp(-Math.abs(margin))));
        const slope = -scale * weight / (1 + Math.exp(margin)); // -σ(-d)
        dscores[better]! += slope;
        dscores[worse]! -= slope;
      }
    }
  }
  return { losses, dscores };
}

/**
 * Slow f64 twin of direct preference optimisation over the log-probabilities of tokens.
 *
 * @module
 */
import { pairwise } from "./pairwise.ts";

/** What the loss is made of. */
export interface DpoSizes {
  /** Prompts. */
  E: number;
  /** Responses to each. */
  K: number;
  /** Positions of a row. */
  T: number;
  /** How much a log-probability counts that differs from the reference's. */
  beta: number;
  /** Multiplies the gradient. */
  scale?: number;
}

/**
 * scores[r] = β (−Σ_t nll[r, t] mask[r, t] − reference[r]), losses as {@linkcode pairwise} has
 * them; dnll = d(scale Σ losses) / dnll.
 */
export function dpo(
  nll: ArrayLike<number>, // (E K, T)
  mask: ArrayLike<number>, // (E K, T)
  reference: ArrayLike<number>, // (E K)
  weights: ArrayLike<number>, // (E, K, K)
  { E, K, T, beta, scale = 1 }: DpoSizes,
): {
  logps: Float64Array; // (E K)
  scores: Float64Array; // (E K)
  losses: Float64Array; // (E K)
  dscores: Float64Array; // (E K)
  dnll: Float64Array; // (E K, T)
} {
  const R = E * K;
  const logps = new Float64Array(R);
  for (let r = 0; r < R; r++) {
    for (let t = 0; t < T; t++) logps[r]! -= nll[r * T + t]! * mask[r * T + t]!;
  }
  const scores = logps.map((logp, r) => beta * (logp - reference[r]!));
  const { losses, dscores } = pairwise(scores, weights, { E, K, scale });
  const dnll = Float64Array.from({ length: R * T }, (_, n) => {
    return -beta * dscores[Math.floor(n / T)]! * mask[n]!;
  });
  return { logps, scores, losses, dscores, dnll };
}

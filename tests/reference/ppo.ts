/**
 * Slow f64 twins of the clipped losses of policy and value model.
 *
 * @module
 */

/** What happened at each row; 0 where the mask is. */
export interface PolicyLoss {
  losses: Float64Array; // (N)
  kl: Float64Array; // (N)
  clipped: Float64Array; // (N)
  ratios: Float64Array; // (N)
  entropies: Float64Array; // (N)
  /** d(scale Σ losses) / dlogits, (N, V). */
  dlogits: Float64Array;
}

/**
 * Of logits (N, V) and the token, its old log-probability, its advantage and its mask of each row.
 */
export function policyLoss(
  logits: ArrayLike<number>,
  rows: readonly { target: number; old: number; advantage: number; mask: number }[],
  { V, clip, scale = 1 }: { V: number; clip: number; scale?: number },
): PolicyLoss {
  const N = rows.length;
  const out: PolicyLoss = {
    losses: new Float64Array(N),
    kl: new Float64Array(N),
    clipped: new Float64Array(N),
    ratios: new Float64Array(N),
    entropies: new Float64Array(N),
    dlogits: new Float64Array(N * V),
  };
  rows.forEach(({ target, old, advantage: A, mask }, n) => {
    if (mask === 0) return;
    const row = Array.from({ length: V }, (_, v) => logits[n * V + v]!);
    const top = Math.max(...row);
    const total = row.reduce((sum, x) => sum + Math.exp(x - top), 0);
    const logp = row[target]! - top - Math.log(total);
    const ratio = Math.exp(logp - old);
    const free = -A * ratio;
    const held = -A * Math.min(Math.max(ratio, 1 - clip), 1 + clip);
    out.losses[n] = mask * Math.max(free, held);
    out.kl[n] = mask * 0.5 * (logp - old) ** 2;
    out.clipped[n] = held > free ? mask : 0;
    out.ratios[n] = mask * ratio;
    const slope = free >= held ? -A * ratio : 0; // d loss / d logp
    row.forEach((x, v) => {
      const share = Math.exp(x - top) / total;
      out.entropies[n]! -= mask * share * Math.log(share);
      out.dlogits[n * V + v] = scale * mask * slope * ((v === target ? 1 : 0) - share);
    });
  });
  return out;
}

/** Of values (N), and the old value, the value to learn and the mask of each. */
export function valueLoss(
  values: ArrayLike<number>,
  rows: readonly { old: number; goal: number; mask: number }[],
  { clip, scale = 1 }: { clip: number; scale?: number },
): { losses: Float64Array; clipped: Float64Array; dvalues: Float64Array } {
  const N = rows.length;
  const losses = new Float64Array(N);
  const clipped = new Float64Array(N);
  const dvalues = new Float64Array(N);
  rows.forEach(({ old, goal, mask }, n) => {
    if (mask === 0) return;
    const value = values[n]!;
    const held = Math.min(Math.max(value, old - clip), old + clip);
    const [free, bound] = [(value - goal) ** 2, (held - goal) ** 2];
    losses[n] = mask * 0.5 * Math.max(free, bound);
    clipped[n] = bound > free ? mask : 0;
    dvalues[n] = free >= bound ? scale * mask * (value - goal) : 0;
  });
  return { losses, clipped, dvalues };
}

/**
 * The arithmetic between a rollout and its updates, in f64: rewards, advantages, whitening, and the
 * weight of the divergence.
 *
 * Sources: J. Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage
 * Estimation", 2016; D. Ziegler et al., "Fine-Tuning Language Models from Human Preferences", 2019,
 * sections 2.1 and 2.2.
 *
 * @module
 */

/** Numbers of one response, a token each. */
export type PerToken = ArrayLike<number>;

/**
 * Rewards of a response's tokens: what the divergence from the reference costs at each, and the
 * score at the last.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const rewards = tokenRewards([-1, -2], [-1.5, -1], { klCoef: 0.5, score: 3 });
 * assertEquals([...rewards], [-0.25, 3.5]);
 * ```
 */
export function tokenRewards(
  logProbabilities: PerToken,
  reference: PerToken,
  { klCoef, score }: { klCoef: number; score: number },
): Float64Array {
  const rewards = Float64Array.from(
    logProbabilities,
    (logp, t) => -klCoef * (logp - reference[t]!),
  );
  rewards[rewards.length - 1]! += score;
  return rewards;
}

/** What tokens were better for than the value model thought, and what it should have thought. */
export interface Advantages {
  /** Exponentially weighted sum of temporal differences. */
  readonly advantages: Float64Array;
  /** Advantage and value. */
  readonly returns: Float64Array;
}

/**
 * Generalised advantage estimation over a response that ends with its last token.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const options = { discount: 1, gaeLambda: 0.95 };
 * const { advantages } = generalisedAdvantages([-.02, .01, .99], [.5, .6, .8], options);
 * assertEquals([...advantages].map((a) => a.toFixed(6)), ["0.450975", "0.390500", "0.190000"]);
 * ```
 */
export function generalisedAdvantages(
  rewards: PerToken,
  values: PerToken,
  { discount, gaeLambda }: { discount: number; gaeLambda: number },
): Advantages {
  const count = rewards.length;
  const advantages = new Float64Array(count);
  let later = 0;
  for (let t = count - 1; t >= 0; t--) {
    const next = t + 1 < count ? values[t + 1]! : 0;
    const difference = rewards[t]! + discount * next - values[t]!;
    advantages[t] = later = difference + discount * gaeLambda * later;
  }
  return { advantages, returns: advantages.map((a, t) => a + values[t]!) };
}

/** Under the root, so that a batch of equal numbers stays finite. */
const VARIANCE_EPS = 1e-8;

/**
 * Brings all tokens of a batch together to variance 1 and, unless the mean is kept, to mean 0.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const [a, b] = whitened([[1], [3]]);
 * assertEquals([a![0]!.toFixed(6), b![0]!.toFixed(6)], ["-1.000000", "1.000000"]);
 * ```
 */
export function whitened(
  rows: readonly PerToken[],
  { keepMean = false }: { keepMean?: boolean } = {},
): Float64Array[] {
  let [count, sum] = [0, 0];
  for (const row of rows) for (let t = 0; t < row.length; t++, count++) sum += row[t]!;
  const mean = sum / count;
  let squares = 0;
  for (const row of rows) for (let t = 0; t < row.length; t++) squares += (row[t]! - mean) ** 2;
  const scale = 1 / Math.sqrt(squares / count + VARIANCE_EPS);
  const base = keepMean ? mean : 0;
  return rows.map((row) => Float64Array.from(row, (value) => (value - mean) * scale + base));
}

/** How the weight of the divergence is adapted. */
export interface KlControl {
  /** Nats an episode. */
  readonly target: number;
  /** Episodes over which it adapts. */
  readonly horizon: number;
  /** Episodes since it was adapted. */
  readonly episodes: number;
}

/** How far off the target counts, as a share. */
const MOST_ERROR = 0.2;

/**
 * The weight of the divergence after so many episodes of such a divergence.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const next = adaptedKlCoef(0.15, 12, { target: 6, horizon: 10_000, episodes: 512 });
 * assertEquals(next.toFixed(6), "0.151536");
 * ```
 */
export function adaptedKlCoef(
  klCoef: number,
  kl: number,
  { target, horizon, episodes }: KlControl,
): number {
  const error = Math.min(Math.max(kl / target - 1, -MOST_ERROR), MOST_ERROR);
  return klCoef * (1 + error * episodes / horizon);
}

/**
 * Whether a reward model may take another's place: what held-out comparisons say of both.
 *
 * The log-losses of both on the same pairs are subtracted, pair by pair. Pairs of one prompt go
 * together, so the error of the mean is that of sums over prompts (a ratio estimate with clusters:
 * W. G. Cochran, "Sampling Techniques", 3rd edition, 1977, section 9A.2).
 *
 * @module
 */

/** What two models say of a held-out pair. */
export interface GatePair {
  /** The same for all pairs of one prompt. */
  readonly prompt: string;
  /** Score of the better side minus that of the worse one, under the model that would be new. */
  readonly candidate: number;
  /** The same under the model that is there. */
  readonly current: number;
}

/** What they say together. */
export interface GateResult {
  /**
   * `not_worse`: the one-sided 90 % bound of the difference is at most 0. `worse`: the bound on the
   * other side is above 0. `insufficient`: neither, or too few pairs to ask.
   */
  readonly verdict: "not_worse" | "worse" | "insufficient";
  /** Pairs that were asked. */
  readonly pairs: number;
  /** Prompts that they are of. */
  readonly prompts: number;
  /** Mean log-loss of the new one, nats; null without a pair. */
  readonly candidateLoss: number | null;
  /** That of the one that is there. */
  readonly currentLoss: number | null;
  /** Upper one-sided 90 % bound of the first minus the second; null where too few prompts tell. */
  readonly bound: number | null;
  /** Share of pairs whose better side has the higher score, under the new one. */
  readonly candidateAccuracy: number | null;
  /** The same under the one that is there. */
  readonly currentAccuracy: number | null;
}

/** Fewer prompts say nothing of their spread. */
const LEAST_PROMPTS = 5;
/** 90 % of a normal distribution lie below it. */
const Z90 = 1.2815515655446004;

/**
 * Compares two models.
 *
 * @param least pairs that are needed to say anything
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const pairs = Array.from({ length: 60 }, (_, i) => {
 *   return { prompt: `${i % 20}`, candidate: 1 + i % 3, current: 0 };
 * });
 * assertEquals(judgeCandidate(pairs, 50).verdict, "not_worse");
 * assertEquals(judgeCandidate(pairs, 61).verdict, "insufficient");
 * ```
 */
export function judgeCandidate(pairs: readonly GatePair[], least: number): GateResult {
  const prompts = new Map<string, { difference: number; count: number }>();
  let [candidate, current, right, before] = [0, 0, 0, 0];
  for (const pair of pairs) {
    const losses = [logLoss(pair.candidate), logLoss(pair.current)] as const;
    candidate += losses[0];
    current += losses[1];
    right += share(pair.candidate);
    before += share(pair.current);
    const own = prompts.get(pair.prompt) ?? { difference: 0, count: 0 };
    own.difference += losses[0] - losses[1];
    own.count++;
    prompts.set(pair.prompt, own);
  }
  const N = pairs.length;
  const mean = (candidate - current) / N;
  const error = clusteredError([...prompts.values()], mean, N);
  const half = error === undefined ? undefined : studentT90(prompts.size - 1) * error;
  const isEnough = N >= least && half !== undefined;
  const verdict = !isEnough
    ? "insufficient"
    : mean + half <= 0
    ? "not_worse"
    : mean - half > 0
    ? "worse"
    : "insufficient";
  const over = (sum: number) => N === 0 ? null : sum / N;
  return {
    verdict,
    pairs: N,
    prompts: prompts.size,
    candidateLoss: over(candidate),
    currentLoss: over(current),
    bound: half === undefined ? null : mean + half,
    candidateAccuracy: over(right),
    currentAccuracy: over(before),
  };
}

/** Standard error of the mean over all pairs; undefined where there are too few prompts. */
function clusteredError(
  prompts: readonly { difference: number; count: number }[],
  mean: number,
  N: number,
): number | undefined {
  const C = prompts.length;
  if (C < LEAST_PROMPTS) return undefined;
  const squares = prompts.reduce((sum, { difference, count }) => {
    return sum + (difference - count * mean) ** 2;
  }, 0);
  return Math.sqrt(squares * C / (C - 1)) / N;
}

/** −log σ(margin). */
function logLoss(margin: number): number {
  return Math.max(-margin, 0) + Math.log1p(Math.exp(-Math.abs(margin)));
}

function share(margin: number): number {
  return margin > 0 ? 1 : margin === 0 ? 0.5 : 0;
}

/**
 * What 90 % of Student's distribution lie below, by the expansion around the normal one (M.
 * Abramowitz and I. Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5).
 *
 * @param degrees of freedom, 4 or more
 *
 * @example
 * ```ts
 * import { assertAlmostEquals } from "@std/assert";
 * assertAlmostEquals(studentT90(10), 1.3722, 1e-3);
 * ```
 */
export function studentT90(degrees: number): number {
  const z = Z90;
  const first = (z ** 3 + z) / 4;
  const second = (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96;
  return z + first / degrees + second / degrees ** 2;
}

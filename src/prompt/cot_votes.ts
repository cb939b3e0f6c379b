/**
 * Votes of several reasonings for one answer, and when enough of them are in.
 *
 * Everything looks at the paths in the order of their numbers, not of their arrival, so that the
 * answer is a function of the seed.
 *
 * Sources: X. Wang et al., "Self-consistency improves chain of thought reasoning in language
 * models" (2022), table 1 for the weights (https://arxiv.org/abs/2203.11171); P. Aggarwal,
 * A. Madaan, Y. Yang, Mausam, "Let's sample step by step: adaptive-consistency for efficient
 * reasoning and coding with LLMs" (2023), section 3 for the rule "beta"
 * (https://arxiv.org/abs/2305.11860); Y. Li et al., "Escape sky-high cost: early-stopping
 * self-consistency for multi-step reasoning" (2024) for the rule "window"
 * (https://arxiv.org/abs/2401.10480); Y. Li et al., "Making large language models better reasoners
 * with step-aware verifier" (2022), section 3.2, for votes weighed by a judge's probability
 * (https://arxiv.org/abs/2206.02336).
 *
 * @module
 */

/**
 * What a path's vote weighs: one each, its probability, that of its tokens in the mean, or the
 * probability that it is preferred to a demonstration: σ(reward), as their rewards are 0 on
 * average.
 */
export type Aggregate = "majority" | "logprob" | "length_norm" | "reward";

/** A path that has ended. */
export interface Ballot {
  /** Same for answers that mean the same; undefined where it has none and abstains. */
  readonly key: string | undefined;
  /** Of all its tokens, summed: natural logarithm. */
  readonly logProbability: number;
  /** That by the token. */
  readonly meanLogProbability: number;
  /** Of a reward model; undefined where there is none, and the path then has no weight by it. */
  readonly reward?: number | undefined;
}

/** How many voted for an answer. */
export interface Tally {
  /** Of the answer. */
  readonly key: string;
  /** Number of the first path that voted so. */
  readonly first: number;
  /** Paths that voted so. */
  readonly count: number;
  /** Share of all weight; all shares are 1 together. */
  readonly weight: number;
}

/**
 * Counts votes, the winner first; of equal weights the answer of the path with the lower number.
 *
 * @example
 * ```ts
 * import { countVotes } from "./cot_votes.ts";
 * const ballot = (key?: string) => ({ key, logProbability: -1, meanLogProbability: -1 });
 * const [winner] = countVotes([ballot("6"), ballot(), ballot("7"), ballot("7")], "majority");
 * console.assert(winner!.key === "7" && winner!.count === 2 && winner!.weight === 2 / 3);
 * ```
 */
export function countVotes(ballots: readonly Ballot[], aggregate: Aggregate): Tally[] {
  const logWeights = ballots.map((ballot) => logWeightOf(ballot, aggregate));
  const largest = ballots.reduce((most, { key }, index) => {
    return key === undefined ? most : Math.max(most, logWeights[index]!);
  }, -Infinity);
  const tallies = new Map<string, { key: string; first: number; count: number; weight: number }>();
  let total = 0;
  for (const [index, { key }] of ballots.entries()) {
    if (key === undefined) continue;
    const tally = tallies.get(key) ?? { key, first: index, count: 0, weight: 0 };
    tallies.set(key, tally);
    // The largest weight is 1: probabilities of whole texts are too small for f64.
    const weight = largest === -Infinity ? 1 : Math.exp(logWeights[index]! - largest);
    tally.count++;
    tally.weight += weight;
    total += weight;
  }
  const shares = Array.from(tallies.values(), (tally) => ({
    ...tally,
    weight: tally.weight / total,
  }));
  return shares.sort((a, b) => b.weight - a.weight); // stable: as they came
}

function logWeightOf(ballot: Ballot, aggregate: Aggregate): number {
  if (aggregate === "majority") return 0;
  if (aggregate === "reward") return logSigmoid(ballot.reward ?? -Infinity);
  return aggregate === "logprob" ? ballot.logProbability : ballot.meanLogProbability;
}

function logSigmoid(x: number): number {
  return Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x)));
}

/**
 * When no more paths are wanted. Every rule but "none" also stops where "certain" does, as that
 * changes nothing.
 */
export type StopRule =
  | { readonly rule: "none" }
  /** Once the paths that are left cannot change the answer any more. */
  | { readonly rule: "certain" }
  /** Once `window` paths in a row agree; windows follow each other without overlap. */
  | { readonly rule: "window"; readonly window: number }
  /**
   * Once the leading answer is ahead of the second with this probability, as far as these two go.
   * It is looked at after each path, so it stops too soon a little more often than one look would.
   */
  | { readonly rule: "beta"; readonly confidence: number };

/**
 * Whether the votes of these paths are enough.
 *
 * @param keys of the answers of the first paths, undefined for those that abstain
 * @param samples how many paths there will be at most
 */
export function isEnough(
  keys: readonly (string | undefined)[],
  rule: StopRule,
  samples: number = Infinity,
): boolean {
  if (rule.rule === "none") return false;
  if (isCertain(keys, samples)) return true;
  if (rule.rule === "certain") return false;
  if (rule.rule === "window") {
    if (keys.length === 0 || keys.length % rule.window !== 0) return false;
    const [key, ...others] = keys.slice(-rule.window);
    return key !== undefined && others.every((other) => other === key);
  }
  const counts = new Map<string, number>();
  for (const key of keys) if (key !== undefined) counts.set(key, (counts.get(key) ?? 0) + 1);
  const [first = 0, second = 0] = [...counts.values()].sort((a, b) => b - a);
  return first > 0 && leadProbability(first, second) >= rule.confidence;
}

/** Whether the leading answer leads whatever the paths that are left vote for. */
function isCertain(keys: readonly (string | undefined)[], samples: number): boolean {
  const left = samples - keys.length;
  if (left <= 0) return true;
  // In the order of their first votes, as the one that came first wins of equal counts.
  const counts = new Map<string, number>();
  for (const key of keys) if (key !== undefined) counts.set(key, (counts.get(key) ?? 0) + 1);
  const all = [...counts.values()];
  const most = Math.max(0, ...all);
  const leader = all.indexOf(most);
  if (left > most) return false; // all for an answer that nobody has voted for yet
  return all.every((count, index) => {
    return index === leader || (index < leader ? count + left < most : count + left <= most);
  });
}

/**
 * The probability that the answer with `first` votes is more frequent than the one with `second`,
 * were the two all there are: the share of Beta(first + 1, second + 1) above 1/2, which for whole
 * numbers is that of at most `first` heads in first + second + 1 throws of a coin.
 *
 * @example Four votes against none
 * ```ts
 * import { leadProbability } from "./cot_votes.ts";
 * console.assert(leadProbability(4, 0) === 31 / 32);
 * ```
 */
export function leadProbability(first: number, second: number): number {
  const throws = first + second + 1;
  let term = 2 ** -throws; // of no heads
  let sum = term;
  for (let heads = 1; heads <= first; heads++) {
    term *= (throws - heads + 1) / heads;
    sum += term;
  }
  return Math.min(1, sum);
}

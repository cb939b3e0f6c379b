/**
 * What an iteration of PPO says of itself: its metrics, what looks wrong, tables of samples.
 *
 * @module
 */
import type { PpoEvaluation, PpoMetrics } from "./ppo_events.ts";
import type { PolicyResult } from "./ppo_policy_step.ts";
import type { Episode } from "./ppo_rollout.ts";
import type { ValueResult } from "./ppo_value_step.ts";

/** A rollout with all that was asked about it; arrays are one an episode. */
export interface ScoredRollout {
  /** As they were written. */
  readonly episodes: readonly Episode[];
  /** Log-probabilities of the tokens under the reference. */
  readonly reference: readonly Float64Array[];
  /** Rewards of the responses, less what a missing end costs. */
  readonly scores: Float64Array;
}

/** Mean of a number of each. */
export function mean<T>(items: ArrayLike<T>, of: (item: T, index: number) => number): number {
  let sum = 0;
  for (let i = 0; i < items.length; i++) sum += of(items[i]!, i);
  return sum / items.length;
}

/** Log-ratio of policy and reference, summed over each response. */
export function divergences(
  { episodes, reference }: Pick<ScoredRollout, "episodes" | "reference">,
): Float64Array {
  return Float64Array.from(episodes, ({ logProbabilities }, i) => {
    let sum = 0;
    logProbabilities.forEach((logp, t) => sum += logp - reference[i]![t]!);
    return sum;
  });
}

/** Milliseconds of an iteration's parts. */
export interface PpoTimes {
  /** Writing. */
  readonly rolloutMs: number;
  /** Reference, value model and reward. */
  readonly scoringMs: number;
  /** Both updates. */
  readonly updateMs: number;
}

/** The metrics of an iteration. */
export function ppoMetrics(
  rollout: ScoredRollout,
  policy: readonly PolicyResult[],
  value: readonly ValueResult[],
  { episode, klCoef, lr, times }: {
    /** Episodes so far. */
    episode: number;
    /** That the iteration had. */
    klCoef: number;
    /** Of the policy. */
    lr: number;
    /** Of its parts. */
    times: PpoTimes;
  },
): PpoMetrics {
  const { episodes, scores } = rollout;
  const kl = mean(divergences(rollout), (nats) => nats);
  const meanScore = mean(scores, (score) => score);
  const ratio = mean(policy, (result) => result.ratio);
  const tokens = mean(episodes, ({ logProbabilities }) => logProbabilities.length);
  const { rolloutMs, scoringMs, updateMs } = times;
  const totalMs = rolloutMs + scoringMs + updateMs;
  const isMixed = policy[0]?.ptxLoss !== undefined;
  return {
    episode,
    "objective/kl": kl,
    "objective/entropy": mean(
      episodes,
      ({ logProbabilities }) => -logProbabilities.reduce((sum, logp) => sum + logp, 0),
    ),
    "objective/non_score_reward": -klCoef * kl,
    "objective/rlhf_reward": meanScore - klCoef * kl,
    "objective/scores": meanScore,
    "objective/kl_coef": klCoef,
    "policy/entropy_avg": mean(policy, ({ entropy }) => entropy),
    "policy/approxkl_avg": mean(policy, ({ approxKl }) => approxKl),
    "policy/clipfrac_avg": mean(policy, ({ clipShare }) => clipShare),
    "loss/policy_avg": mean(policy, ({ loss }) => loss),
    "loss/value_avg": mean(value, ({ loss }) => loss),
    "val/clipfrac_avg": mean(value, ({ clipShare }) => clipShare),
    "val/ratio": ratio,
    "val/ratio_var": mean(policy, (result) => (result.ratio - ratio) ** 2),
    "val/num_eos_tokens": episodes.filter(({ ended }) => ended).length,
    "val/num_empty": episodes.filter(({ text }) => text.trim() === "").length,
    "val/response_tokens": tokens,
    lr,
    "grad_norm/policy": mean(policy, ({ gradNorm }) => gradNorm),
    "grad_norm/value": mean(value, ({ gradNorm }) => gradNorm),
    ...(isMixed
      ? {
        "loss/ptx_avg": mean(policy, ({ ptxLoss }) => ptxLoss!),
        "grad_norm/ptx_ratio": mean(policy, ({ ptxNormRatio }) => ptxNormRatio!),
      }
      : {}),
    rollout_tokens_per_second: Math.round(1000 * tokens * episodes.length / rolloutMs),
    "time/rollout": rolloutMs / totalMs,
    "time/scoring": scoringMs / totalMs,
    "time/update": updateMs / totalMs,
    "time/iteration_ms": Math.round(totalMs),
  };
}

/** What an evaluation found. */
export function ppoEvaluation(rollout: ScoredRollout): PpoEvaluation {
  const { episodes, scores } = rollout;
  return {
    "eval/scores": mean(scores, (score) => score),
    "eval/kl": mean(divergences(rollout), (nats) => nats),
    "eval/ended": mean(episodes, ({ ended }) => ended ? 1 : 0),
  };
}

/** A mean divergence below this many of its standard errors under 0 is no accident. */
const NEGATIVE_ERRORS = 3;
/** Nats a token that no useful policy is away from its reference. */
const MOST_KL_A_TOKEN = 2;
/** How far the first update of an iteration may be from a ratio of 1. */
const MOST_RATIO_OFF = 1e-2;
const MOST_CLIPPED = 0.5;

/** What can look wrong. */
export type PpoFault =
  | "negative divergence"
  | "ratio"
  | "exploding divergence"
  | "clipping"
  | "empty responses";

/**
 * What looks wrong with an iteration, and what may help; undefined where nothing does.
 *
 * @param firstRatio of the iteration's first update, before which the policy is the one that wrote
 */
export function diagnosis(
  rollout: Pick<ScoredRollout, "episodes" | "reference">,
  metrics: PpoMetrics,
  firstRatio: number,
): { fault: PpoFault; text: string } | undefined {
  const say = (fault: PpoFault, text: string) => ({ fault, text });
  const kls = divergences(rollout);
  const { "objective/kl": kl, "val/response_tokens": tokens } = metrics;
  const variance = mean(kls, (nats) => (nats - kl) ** 2);
  const error = Math.sqrt(variance / kls.length);
  if (kl < -NEGATIVE_ERRORS * error && kl < -1e-3 * tokens) {
    const nats = `${kl.toFixed(3)} ± ${error.toFixed(3)} nats a response`;
    return say(
      "negative divergence",
      `the divergence from the reference is negative (${nats}), which no policy's own samples ` +
        "have: the responses were not drawn from the policy, or the reference is another model " +
        "than the policy began as",
    );
  }
  if (Math.abs(firstRatio - 1) > MOST_RATIO_OFF) {
    return say(
      "ratio",
      `the first update of the iteration has a ratio of ${firstRatio.toFixed(4)}, not 1: ` +
        "rollout and training do not agree on the log-probabilities",
    );
  }
  if (kl > MOST_KL_A_TOKEN * tokens) {
    return say(
      "exploding divergence",
      `the divergence from the reference explodes (${kl.toFixed(1)} nats a response of ` +
        `${tokens.toFixed(0)} tokens): the reward is likely being gamed; raise klCoef ` +
        `(${metrics["objective/kl_coef"].toPrecision(3)}), set klTarget, or lower lr`,
    );
  }
  if (metrics["policy/clipfrac_avg"] > MOST_CLIPPED) {
    const percent = Math.round(100 * metrics["policy/clipfrac_avg"]);
    return say(
      "clipping",
      `${percent} % of the tokens are clipped: the updates are too large; lower lr, or use fewer ` +
        "ppoEpochs",
    );
  }
  if (2 * metrics["val/num_empty"] > rollout.episodes.length) {
    return say(
      "empty responses",
      `${metrics["val/num_empty"]} of ${rollout.episodes.length} responses are empty: the reward ` +
        "favours saying nothing, or the run to start from does not answer",
    );
  }
  return undefined;
}

/** Of a text in a table. */
const MOST_CHARACTERS = 240;

/**
 * Prompts with the responses before and after, and their scores, as a Markdown table.
 *
 * @param rows of both, the same prompts
 */
export function sampleTable(before: ScoredRollout, after: ScoredRollout, rows: number): string {
  const cell = (text: string) => {
    const one = text.replaceAll(/\s+/g, " ").replaceAll("|", "\\|").trim();
    return one.length > MOST_CHARACTERS ? `${one.slice(0, MOST_CHARACTERS)}…` : one;
  };
  const lines = after.episodes.slice(0, rows).map(({ prompt, text }, i) => {
    const [was, is] = [before, after].map(({ scores }) => scores[i]!.toFixed(3));
    const cells = [cell(prompt.text), cell(before.episodes[i]!.text), was, cell(text), is];
    return `| ${cells.join(" | ")} |`;
  });
  return [
    "| prompt | before | score | after | score |",
    "| --- | --- | --- | --- | --- |",
    ...lines,
  ].join("\n");
}

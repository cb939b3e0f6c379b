/**
 * From a rollout to what is learnt of it.
 *
 * @module
 */
import type { LearntRow } from "./ppo_batches.ts";
import type { PpoConfig } from "./ppo_config.ts";
import { generalisedAdvantages, tokenRewards, whitened } from "./ppo_math.ts";
import type { ScoredRollout } from "./ppo_report.ts";

/**
 * What is learnt of each episode: rewards with what the divergence costs, whitened over the
 * iteration where that is asked for; advantages and returns of them; advantages whitened, too.
 *
 * @param values before each token, with the bias
 * @param about `bias`: what the value model's score lacks of a value
 */
export function learntRows(
  { episodes, reference, scores }: ScoredRollout,
  values: readonly Float64Array[],
  { config, klCoef, bias }: {
    config: Pick<PpoConfig, "whitenRewards" | "whitenAdvantages" | "discount" | "gaeLambda">;
    klCoef: number;
    bias: number;
  },
): LearntRow[] {
  const raw = episodes.map(({ logProbabilities }, i) =>
    tokenRewards(logProbabilities, reference[i]!, { klCoef, score: scores[i]! })
  );
  const rewards = config.whitenRewards ? whitened(raw, { keepMean: true }) : raw;
  const estimated = rewards.map((row, i) => generalisedAdvantages(row, values[i]!, config));
  const plain = estimated.map(({ advantages }) => advantages);
  const advantages = config.whitenAdvantages ? whitened(plain) : plain;
  return episodes.map(({ ids, promptLength, logProbabilities }, i) => ({
    ids,
    promptLength,
    logProbabilities,
    advantages: advantages[i]!,
    // The model learns its score, which the bias is not a part of.
    values: values[i]!.map((value) => value - bias),
    returns: estimated[i]!.returns.map((value) => value - bias),
  }));
}

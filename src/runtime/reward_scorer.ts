/**
 * A reward model in the runtime: the score of each dialogue's last token.
 *
 * @module
 */
import { type RewardHead, rewardHeadOf } from "../data/reward_head.ts";
import type { Device } from "../gpu/device.ts";
import type { Weights } from "../model/parameters.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { scoresOf } from "../train/reward_score.ts";
import { scoreShape } from "../train/reward_step.ts";
import { BatchScorers, type ExampleTokens, type TaskClassifier } from "./task_classifier.ts";

/** The score of a reward model on a device; an example is a dialogue, its only copy. */
export class GpuRewardScorer implements TaskClassifier {
  readonly #scorers: BatchScorers;

  /** Plans are recorded as batches need them. @param weights of the decoder and the score */
  constructor(device: Device, weights: Weights) {
    this.#scorers = new BatchScorers(device, weights, scoreShape(1));
  }

  /** As many as a batch of at most 2048 tokens has room for. */
  fit(examples: readonly ExampleTokens[]): number {
    return this.#scorers.fit(examples);
  }

  /** (1) the score of each dialogue of a batch that {@linkcode fit} cut, without the bias. */
  async score(examples: readonly ExampleTokens[]): Promise<Float32Array[]> {
    const { scorer, shape: { examples: rows }, contextLength } = this.#scorers.of(examples.length);
    const dialogues = examples.map(({ copies }) => copies[0]!);
    try {
      const scores = await scoresOf(scorer, dialogues, { rows, contextLength });
      return Array.from(scores, (score) => Float32Array.of(score));
    } catch (error) {
      this.destroy(); // a plan that was cut short is not used again
      throw error;
    }
  }

  /** Gives plans and activations back; a later batch makes them anew. */
  destroy(): void {
    this.#scorers.destroy();
  }
}

/** The head of a reward model's checkpoint; undefined where it has none, or one of another kind. */
export async function rewardHeadIn(checkpoint: Checkpoint): Promise<RewardHead | undefined> {
  return checkpoint.has("head.json") ? rewardHeadOf(await checkpoint.json("head.json")) : undefined;
}

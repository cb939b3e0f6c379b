/**
 * How well a policy answers held-out prompts, as a reward model has it: what SFT chooses its best
 * checkpoint by where one is given.
 *
 * Source: L. Ouyang et al., "Training language models to follow instructions with human feedback",
 * 2022, section 3.5: the final SFT model is selected by its reward on the validation set.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import type { ActivationPool } from "../gpu/pool.ts";
import type { Turns } from "../gpu/turns.ts";
import { batchSlots, Engine } from "../infer/engine.ts";
import type { Weights } from "../model/parameters.ts";
import type { EncodedDialogue } from "../prompt/dialogue.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { Answer } from "./ppo_reward.ts";
import { ModelReward, type RewardModel } from "./ppo_reward_model.ts";

/** What a reward model thinks of answers. */
export interface AnswerRewards {
  /** Mean reward. */
  readonly reward: number;
  /** Share of the answers that end by themselves. */
  readonly ended: number;
  /** How many there are. */
  readonly answers: number;
}

/** Options of {@linkcode AnswerEvaluator}. */
export interface AnswerEvaluatorOptions {
  /** Of the policy and the reward model. */
  readonly tokenizer: Tokenizer;
  /** The most tokens of an answer, its end among them. */
  readonly responseTokens: number;
  /** Rows of the reward model's batches. */
  readonly rows: number;
  /** Of the policy's activations; shared with plans that never run at the same time. */
  readonly pool: ActivationPool;
  /** When parts of it may be submitted. @default at once */
  readonly turns?: Turns | undefined;
}

/** Answers prompts with live weights, and has a frozen reward model score the answers. */
export class AnswerEvaluator {
  readonly #device: Device;
  readonly #weights: Weights;
  readonly #options: AnswerEvaluatorOptions;
  readonly #reward: ModelReward;
  readonly #endId: number;

  /** Loads the reward model. */
  constructor(
    device: Device,
    weights: Weights,
    reward: RewardModel,
    options: AnswerEvaluatorOptions,
  ) {
    const { tokenizer, rows, turns } = options;
    this.#device = device;
    this.#weights = weights;
    this.#options = options;
    this.#endId = tokenizer.specialTokens.get("<|end|>")!;
    this.#reward = new ModelReward(device, reward, { tokenizer, isDialogue: true, rows, turns });
  }

  /**
   * Answers the last turn of each dialogue with the likeliest tokens, so that nothing but the
   * weights decides, and scores the answers as PPO does.
   *
   * @throws {CannotError} When a reward is no finite number.
   */
  async run(dialogues: readonly EncodedDialogue[]): Promise<AnswerRewards> {
    const written = await this.#write(dialogues.map(promptOf));
    const rewards = await this.#reward.score(written.map(({ answer }) => answer));
    const count = dialogues.length;
    return {
      reward: rewards.reduce((sum, reward) => sum + reward, 0) / count,
      ended: written.filter(({ ended }) => ended).length / count,
      answers: count,
    };
  }

  async #write(
    prompts: readonly Uint32Array[],
  ): Promise<{ answer: Answer; ended: boolean }[]> {
    const { tokenizer, responseTokens, pool, turns } = this.#options;
    const endId = this.#endId;
    // Its keys and values would otherwise stay while the weights are trained.
    const engine = Engine.create(this.#device, this.#weights, {
      slots: Math.min(batchSlots(this.#device), prompts.length),
      pool,
      turns,
    });
    try {
      const texts = prompts.map((prompt) => {
        const ids: number[] = [];
        const request = {
          prompt: [...prompt],
          maxTokens: responseTokens,
          stopIds: [endId],
          sampling: { temperature: 0 },
        };
        const { done } = engine.submit(request, (event) => {
          if (event.kind === "token") ids.push(event.id);
        });
        return { prompt, ids, done };
      });
      await engine.run();
      await Promise.all(texts.map(({ done }) => done));
      return texts.map(({ prompt, ids }) => {
        const ended = ids.at(-1) === endId;
        const responseIds = Uint32Array.from(ended ? ids.slice(0, -1) : ids);
        const textOf = (part: Uint32Array) => tokenizer.decode([...part], { skipSpecial: true });
        const texts = { messages: [], prompt: textOf(prompt), response: textOf(responseIds) };
        return { answer: { ...texts, promptIds: prompt, responseIds }, ended };
      });
    } finally {
      engine.destroy();
    }
  }

  /** Gives the reward model back. */
  destroy(): void {
    this.#reward.destroy();
  }
}

/** Up to where the last response begins; it has one token or more. */
function promptOf({ ids, isResponse }: EncodedDialogue): Uint32Array {
  let start = isResponse.lastIndexOf(1);
  while (start > 0 && isResponse[start - 1] === 1) start--;
  return ids.subarray(0, start);
}

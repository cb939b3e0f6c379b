/**
 * Rewards of a reward model of ours.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import { type RewardHead, rewardHeadFromJson } from "../data/reward_head.ts";
import type { Device } from "../gpu/device.ts";
import { ActivationPool } from "../gpu/pool.ts";
import type { Turns } from "../gpu/turns.ts";
import { TaskScorer } from "../infer/task_scorer.ts";
import type { ModelConfig } from "../model/config.ts";
import { configFromJson } from "../model/config_json.ts";
import { scoreSpec } from "../model/heads.ts";
import { Weights } from "../model/parameters.ts";
import { encodeDialogue } from "../prompt/dialogue.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { Run } from "../run/run_folder.ts";
import { loadTokenizer } from "../tokenizer/file.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { loadWeights } from "./checkpoint.ts";
import { type Answer, checkRewards, type RewardSource } from "./ppo_reward.ts";
import { scoresOf } from "./reward_score.ts";
import { scoreShape } from "./reward_step.ts";

/** A reward model that a run names. */
export interface RewardModel {
  /** `name@step`. */
  readonly name: string;
  /** With its weights. */
  readonly checkpoint: Checkpoint;
  /** Of its decoder. */
  readonly model: ModelConfig;
  /** What is added to its scores. */
  readonly head: RewardHead;
  /** SHA-256 of its weights. */
  readonly weights: string;
}

/**
 * Finds a reward model by `name`, whose current checkpoint it then is, or by `name@step`.
 *
 * @throws {CannotError} When there is none, or it has other tokens than the policy.
 */
export async function openRewardModel(
  root: string,
  reward: string,
  tokenizer: Tokenizer,
): Promise<RewardModel> {
  const [, runName = reward, step] = /^(.+?)(?:@(\d+))?$/.exec(reward) ?? [];
  const run = await Run.open(root, runName);
  if (run.info.stage !== "reward") {
    const state = `its stage is ${run.info.stage}`;
    throw new CannotError(`reward with run "${runName}"`, "want a reward model", state);
  }
  const checkpoint = await run.checkpoint(step === undefined ? "current" : Number(step));
  const own = loadTokenizer(await checkpoint.text("tokenizer.json"));
  if (own.sha256 !== tokenizer.sha256) {
    throw new CannotError(
      `reward with run "${runName}"`,
      "want a reward model with the policy's tokenizer",
      `it has another one (${own.vocabSize} tokens, the policy ${tokenizer.vocabSize})`,
    );
  }
  return {
    name: `${runName}@${checkpoint.step}`,
    checkpoint,
    model: configFromJson(await checkpoint.json("config.json")),
    head: rewardHeadFromJson(await checkpoint.json("head.json")),
    weights: checkpoint.manifest.files["model.safetensors"]!.sha256,
  };
}

/** Weights of a decoder with a score. */
export function scoredWeights(device: Device, model: ModelConfig, trainable: boolean): Weights {
  return new Weights(device, model, {
    trainable,
    heads: [scoreSpec(scoreShape(1), model.channels)],
  });
}

/** Options of {@linkcode ModelReward}. */
export interface ModelRewardOptions {
  /** Of the policy and the model. */
  readonly tokenizer: Tokenizer;
  /** Whether prompts are turns of a dialogue, whose tokens are then scored as they are. */
  readonly isDialogue: boolean;
  /** Responses of a batch. */
  readonly rows: number;
  /** When parts of a batch may be submitted. @default at once */
  readonly turns?: Turns | undefined;
}

/**
 * Scores of a frozen reward model, with its bias. Each response is scored as if it had ended, as
 * those that the model learnt from had; what its context does not hold is cut before the end.
 */
export class ModelReward implements RewardSource {
  /** What it is. */
  readonly words: string;
  readonly #reward: RewardModel;
  readonly #options: ModelRewardOptions;
  readonly #endId: number;
  readonly #weights: Weights;
  readonly #pool: ActivationPool;
  readonly #scorer: TaskScorer;

  /** Loads the weights. */
  constructor(device: Device, reward: RewardModel, options: ModelRewardOptions) {
    this.words = `the reward model ${reward.name}`;
    this.#reward = reward;
    this.#options = options;
    this.#endId = options.tokenizer.specialTokens.get("<|end|>")!;
    this.#weights = scoredWeights(device, reward.model, false);
    this.#pool = new ActivationPool(device);
    const { rows, turns } = options;
    this.#scorer = new TaskScorer(device, this.#weights, scoreShape(rows), this.#pool, turns);
    loadWeights(device, reward.checkpoint, this.#weights);
  }

  /** Scores with the bias. @throws {CannotError} When one is no finite number. */
  async score(answers: readonly Answer[]): Promise<Float64Array> {
    const { model: { contextLength }, head } = this.#reward;
    const { rows } = this.#options;
    const dialogues = answers.map((answer) => this.#dialogueOf(answer));
    const scores = await scoresOf(this.#scorer, dialogues, { rows, contextLength });
    return checkRewards(scores.map((score) => score + head.bias), answers, this.words);
  }

  #dialogueOf({ messages, response, promptIds, responseIds }: Answer): Uint32Array<ArrayBuffer> {
    const { tokenizer, isDialogue } = this.#options;
    const most = Math.min(this.#reward.head.maxTokens, this.#reward.model.contextLength);
    const ids = isDialogue
      ? [...promptIds, ...responseIds]
      : [...encodeDialogue(tokenizer, [...messages, { role: "assistant", content: response }]).ids]
        .slice(0, -1);
    return Uint32Array.from([...ids.slice(0, most - 1), this.#endId]);
  }

  /** Gives weights and plans back. */
  destroy(): void {
    this.#scorer.destroy();
    this.#pool.destroy();
    this.#weights.destroy();
  }
}

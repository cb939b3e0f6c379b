/**
 * Training a reward model on comparisons, from a run to a run: the second stage of InstructGPT.
 *
 * Source: L. Ouyang et al., "Training language models to follow instructions with human feedback",
 * 2022, section 3.5 and appendix C.2.
 *
 * @module
 */
import { rewardHeadToJson } from "../data/reward_head.ts";
import type { Turns } from "../gpu/turns.ts";
import { TaskScorer } from "../infer/task_scorer.ts";
import type { ModelConfig } from "../model/config.ts";
import { scoreSpec } from "../model/heads.ts";
import { Weights } from "../model/parameters.ts";
import type { RunWriter, SaveOptions } from "../run/run_folder.ts";
import { EpochTraining, type EpochTrainingOptions } from "./epoch_training.ts";
import type { EpochEvaluation } from "./epochs.ts";
import { comparisonBatches, type RewardBatch, rewardBatch } from "./reward_batches.ts";
import type { RewardConfig } from "./reward_config.ts";
import type { RewardData, RewardExample } from "./reward_data.ts";
import { type Agreements, agreements, scoresOf } from "./reward_score.ts";
import { type RewardResult, type RewardShape, RewardStep, scoreShape } from "./reward_step.ts";

/** What an evaluation found; its loss is a mean over prompts. */
export type RewardEvaluation = EpochEvaluation & Agreements & {
  /** Held-out prompts. */
  readonly prompts: number;
};

/** What the stage is given. */
export interface RewardOptions extends EpochTrainingOptions {
  /** Of the stage. */
  readonly config: RewardConfig;
  /** Comparisons in tokens. */
  readonly data: Pick<RewardData, "train" | "dev" | "responses">;
  /** Padding for who loads the model elsewhere; undefined where the tokenizer has none. */
  readonly padId?: number | undefined;
  /** When parts of it may be submitted. @default at once */
  readonly turns?: Turns | undefined;
}

/** Rows of an evaluation's batch. */
const EVALUATION_ROWS = 16;
/** Demonstrations whose scores the bias is a mean of, at most. */
const MOST_DEMONSTRATIONS = 1024;

/** The stage under way; its weights are a decoder and a score. */
export class RewardTraining
  extends EpochTraining<RewardOptions, RewardBatch, RewardResult, RewardEvaluation> {
  readonly #scorer: TaskScorer;

  private constructor(options: RewardOptions, stepper: RewardStep) {
    super(options, stepper, options.data.train.map(({ length }) => length));
    const { weights, pool } = stepper.inner;
    const { device, turns } = options;
    this.#scorer = new TaskScorer(device, weights, scoreShape(EVALUATION_ROWS), pool, turns);
  }

  /**
   * Loads the parent's decoder beside a new score, or a checkpoint of the stage itself; without
   * either the weights are drawn from the seed.
   *
   * @throws {CannotError} When a checkpoint is of another model.
   */
  static async open(options: RewardOptions): Promise<RewardTraining> {
    const { device, config, model } = options;
    const heads = [scoreSpec(scoreShape(1), model.channels)];
    const weights = new Weights(device, model, { trainable: true, heads });
    const stepper = await RewardStep.create(device, weights, {
      shape: microShape(options),
      settings: config,
      dropout: config.dropout,
      seed: config.seed,
      turns: options.turns,
    });
    return await new RewardTraining(options, stepper).loaded();
  }

  /** The micro-batches of a step; a function of the seed and the step. */
  override batches(step: number): RewardBatch[] {
    const { data, model } = this.options;
    const examples = this.plan.examples(step).map((i) => data.train[i]!);
    const shape = microShape(this.options);
    return comparisonBatches(examples, shape, model.contextLength, rewardBatch);
  }

  /** Loss and agreement over all comparisons that are held out. */
  override async evaluate(): Promise<RewardEvaluation> {
    const { dev } = this.options.data;
    const scores = await this.scores(dev.flatMap(({ rows }) => rows));
    let at = 0;
    const own = dev.map(({ rows }) => scores.subarray(at, at += rows.length));
    return {
      kind: "evaluation",
      step: this.step,
      ...agreements(dev, own),
      prompts: dev.length,
    };
  }

  /**
   * What makes the mean score of demonstrations 0: of the best responses that are held out, or of
   * those to train on where nothing is.
   */
  async bias(): Promise<number> {
    const { train, dev } = this.options.data;
    const demonstrations = bestRows(dev.length > 0 ? dev : train).slice(0, MOST_DEMONSTRATIONS);
    const scores = await this.scores(demonstrations);
    return -scores.reduce((sum, score) => sum + score, 0) / scores.length;
  }

  /** The score of each dialogue, without the bias. */
  scores(dialogues: readonly Uint32Array<ArrayBuffer>[]): Promise<Float64Array> {
    const { contextLength } = this.options.model;
    return scoresOf(this.#scorer, dialogues, { rows: EVALUATION_ROWS, contextLength });
  }

  /**
   * Saves all that a resume needs; the metrics so far belong to it.
   *
   * @param options `step` of the checkpoint, where it is not the stage's own; whether it is
   * `current` now; which others it may `keep`
   */
  override async save(
    run: RunWriter,
    score: number | undefined,
    options: Pick<SaveOptions, "keep" | "current"> & { readonly step?: number } = {},
  ): Promise<void> {
    const { config, model, padId } = this.options;
    const maxTokens = Math.min(config.maxTokens ?? model.contextLength, model.contextLength);
    const files = this.files(options.step, scoreFields(model, padId));
    const head = rewardHeadToJson({ bias: await this.bias(), maxTokens });
    await run.save({
      keep: { last: config.keep, best: true },
      ...options,
      step: options.step ?? this.step,
      score,
      files: [...files, { path: "head.json", json: head }],
    });
  }

  /** Gives the GPU's memory back. */
  override destroy(): void {
    this.#scorer.destroy();
    super.destroy();
  }
}

function microShape({ config, data }: RewardOptions): RewardShape {
  return { prompts: config.microRows ?? config.batchRows, responses: data.responses };
}

/** The best responses of each prompt. */
function bestRows(examples: readonly RewardExample[]): Uint32Array<ArrayBuffer>[] {
  return examples.flatMap(({ rows, isBest }) => rows.filter((_, k) => isBest[k]));
}

/** Fields of `config.json` that `transformers` reads for a sequence classifier of one score. */
function scoreFields(model: ModelConfig, padId: number | undefined): Record<string, unknown> {
  const isPlain = model.bias && model.band === 0;
  const name = model.norm === "post" ? "OpenAIGPT" : "GPT2";
  return {
    architectures: isPlain ? [`${name}ForSequenceClassification`] : [],
    num_labels: 1,
    id2label: { 0: "reward" },
    label2id: { reward: 0 },
    ...(padId === undefined ? {} : { pad_token_id: padId }),
  };
}

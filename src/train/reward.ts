/**
 * Training a reward model on comparisons, from a run to a run: the second stage of InstructGPT.
 *
 * Source: L. Ouyang et al., "Training language models to follow instructions with human feedback",
 * 2022, section 3.5 and appendix C.2.
 *
 * @module
 */
import { paddedLength } from "../data/task_batches.ts";
import { rewardHeadToJson } from "../data/reward_head.ts";
import type { Device } from "../gpu/device.ts";
import { TaskScorer } from "../infer/task_scorer.ts";
import type { ModelConfig } from "../model/config.ts";
import { scoreSpec } from "../model/heads.ts";
import { Weights } from "../model/parameters.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import type { RunWriter, SaveOptions } from "../run/run_folder.ts";
import { loadTrainerState, trainerFiles } from "./checkpoint.ts";
import { type EpochEvaluation, EpochPlan, type EpochStage } from "./epochs.ts";
import { loadGrown } from "./grow.ts";
import { type RewardBatch, rewardBatch } from "./reward_batches.ts";
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
export interface RewardOptions {
  /** Where it runs; whoever opened it closes it. */
  readonly device: Device;
  /** Of the stage. */
  readonly config: RewardConfig;
  /** The decoder, with rows for the tokens of a dialogue. */
  readonly model: ModelConfig;
  /** Comparisons in tokens. */
  readonly data: Pick<RewardData, "train" | "dev" | "responses">;
  /** JSON of tokenizer files that every checkpoint carries. */
  readonly tokenizerFiles: Readonly<Record<string, unknown>>;
  /** Padding for who loads the model elsewhere; undefined where the tokenizer has none. */
  readonly padId?: number | undefined;
  /** The checkpoint whose decoder it starts from; unused where one is gone on from. */
  readonly parent?: Checkpoint | undefined;
  /** Goes on from here; whoever opened it takes the run back to it. */
  readonly checkpoint?: Checkpoint | undefined;
}

/** Rows of an evaluation's batch. */
const EVALUATION_ROWS = 16;
/** Demonstrations whose scores the bias is a mean of, at most. */
const MOST_DEMONSTRATIONS = 1024;

/** Everything that a step changes: weights, moments and the step itself. */
export class RewardTraining implements EpochStage<RewardResult, RewardEvaluation> {
  /** As they were given. */
  readonly options: RewardOptions;
  /** Of the stage. */
  readonly config: RewardConfig;
  /** What is trained: the decoder and the score. */
  readonly weights: Weights;
  /** Steps and epochs. */
  readonly plan: EpochPlan;
  /** Updates done. */
  step = 0;
  /** Asks the stage to save and end after the step under way. */
  stopping = false;
  readonly #stepper: RewardStep;
  readonly #scorer: TaskScorer;

  private constructor(options: RewardOptions, weights: Weights, stepper: RewardStep) {
    const { config, data, device } = options;
    this.options = options;
    this.config = config;
    this.weights = weights;
    this.plan = new EpochPlan(data.train.map(({ length }) => length), config);
    this.#stepper = stepper;
    this.#scorer = new TaskScorer(
      device,
      weights,
      scoreShape(EVALUATION_ROWS),
      stepper.inner.pool,
    );
  }

  /**
   * Loads the parent's decoder beside a new score, or a checkpoint of the stage itself; without
   * either the weights are drawn from the seed.
   *
   * @throws {CannotError} When a checkpoint is of another model.
   */
  static async open(options: RewardOptions): Promise<RewardTraining> {
    const { device, config, model, checkpoint, parent } = options;
    const heads = [scoreSpec(scoreShape(1), model.channels)];
    const weights = new Weights(device, model, { trainable: true, heads });
    const stepper = await RewardStep.create(device, weights, {
      shape: microShape(options),
      settings: config,
      dropout: config.dropout,
      seed: config.seed,
    });
    const state = new RewardTraining(options, weights, stepper);
    try {
      if (checkpoint) {
        state.step = (await loadTrainerState(device, checkpoint, stepper.inner)).step;
      } else if (parent) loadGrown(device, parent, weights, config.seed);
      else weights.initialise(device, config.seed);
    } catch (error) {
      state.destroy();
      throw error;
    }
    return state;
  }

  /** Prompts that are held out. */
  get heldOut(): number {
    return this.options.data.dev.length;
  }

  /** Queues the next update. */
  async advance(): Promise<void> {
    await this.#stepper.run(this.step, this.batches(this.step), this.plan.learningRate(this.step));
    this.step++;
  }

  /** The micro-batches of a step; a function of the seed and the step. */
  batches(step: number): RewardBatch[] {
    const { data, model } = this.options;
    const examples = this.plan.examples(step).map((i) => data.train[i]!);
    const longest = Math.max(...examples.map(({ length }) => length));
    const { prompts: E, responses: K } = microShape(this.options);
    const shape = { E, K, T: paddedLength(longest, model.contextLength) };
    const batches: RewardBatch[] = [];
    for (let start = 0; start < examples.length; start += E) {
      batches.push(rewardBatch(examples.slice(start, start + E), shape));
    }
    return batches;
  }

  /** Results that have arrived, in order, without waiting. */
  take(): RewardResult[] {
    return this.#stepper.take();
  }

  /** Waits for the results of all queued steps. */
  drain(): Promise<RewardResult[]> {
    return this.#stepper.drain();
  }

  /** Loss and agreement over all comparisons that are held out. */
  async evaluate(): Promise<RewardEvaluation> {
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
   * @param options `step` of the checkpoint, where it is not the stage's own; whether it is `current`
   * now; which others it may `keep`
   */
  async save(
    run: RunWriter,
    score: number | undefined,
    options: Pick<SaveOptions, "keep" | "current"> & { readonly step?: number } = {},
  ): Promise<void> {
    const { device, config, tokenizerFiles, model, padId } = this.options;
    const maxTokens = Math.min(config.maxTokens ?? model.contextLength, model.contextLength);
    const files = trainerFiles(
      device,
      this.#stepper.inner,
      { step: options.step ?? this.step, cursor: null },
      tokenizerFiles,
      scoreFields(model, padId),
    );
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
  destroy(): void {
    this.#scorer.destroy();
    this.#stepper.destroy();
    this.weights.destroy();
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

/**
 * Supervised fine-tuning on dialogues, from a run to a run: the first stage of InstructGPT.
 *
 * Source: L. Ouyang et al., "Training language models to follow instructions with human feedback",
 * 2022, section 3.5 and appendix C.1.
 *
 * @module
 */
import { RandomWindows } from "../data/batches.ts";
import { paddedLength } from "../data/task_batches.ts";
import type { Turns } from "../gpu/turns.ts";
import type { ModelConfig } from "../model/config.ts";
import { Weights } from "../model/parameters.ts";
import type { EncodedDialogue } from "../prompt/dialogue.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { EpochTraining, type EpochTrainingOptions } from "./epoch_training.ts";
import type { EpochEvaluation } from "./epochs.ts";
import { packRows } from "./packing.ts";
import type { RewardModel } from "./ppo_reward_model.ts";
import { packedBatch, type ResponseBatch, responseBatch } from "./sft_batches.ts";
import type { SftConfig } from "./sft_config.ts";
import type { SftData } from "./sft_data.ts";
import { AnswerEvaluator, type AnswerRewards } from "./sft_reward.ts";
import { ResponseEvaluator, type SftResult, SftStep } from "./sft_step.ts";

/** What an evaluation found. */
export interface SftEvaluation extends EpochEvaluation {
  /** Mean over the tokens of held-out responses, in nats a token. */
  readonly loss: number;
  /** e to the loss. */
  readonly perplexity: number;
  /** Tokens of responses. */
  readonly tokens: number;
  /** Of answers to held-out prompts, where a reward model scores them. */
  readonly rewarded?: AnswerRewards | undefined;
}

/** What the stage is given. */
export interface SftOptions extends EpochTrainingOptions {
  /** Of the stage. */
  readonly config: SftConfig;
  /** Dialogues in tokens. */
  readonly data: Pick<SftData, "train" | "dev" | "pretrain">;
  /** Who scores answers to held-out prompts, where the configuration names a reward model. */
  readonly judge?: { readonly reward: RewardModel; readonly tokenizer: Tokenizer } | undefined;
  /** When parts of it may be submitted. @default at once */
  readonly turns?: Turns | undefined;
}

/** Rows of an evaluation's batch. */
const EVALUATION_ROWS = 16;

/** The stage under way. */
export class Sft extends EpochTraining<SftOptions, ResponseBatch, SftResult, SftEvaluation> {
  readonly #evaluator: ResponseEvaluator;
  readonly #answers: AnswerEvaluator | undefined;
  /** The dialogues of each row. */
  readonly #rows: readonly (readonly EncodedDialogue[])[];
  readonly #windows: RandomWindows | undefined;

  private constructor(options: SftOptions, stepper: SftStep) {
    const { config, data, device, model, judge, turns } = options;
    const rows = sftRows(data.train, config, model);
    super(options, stepper, rows.map(tokensOf));
    this.#rows = rows;
    const { weights, pool } = stepper.inner; // nothing of these runs at the same time
    this.#evaluator = new ResponseEvaluator(device, weights, {
      rows: EVALUATION_ROWS,
      pool,
      turns,
    });
    this.#answers = judge && new AnswerEvaluator(device, weights, judge.reward, {
      tokenizer: judge.tokenizer,
      responseTokens: config.responseTokens,
      rows: EVALUATION_ROWS,
      pool,
      turns,
    });
    const T = rowTokens(config, model);
    this.#windows = data.pretrain &&
      new RandomWindows(data.pretrain.train, { T, seed: config.seed });
  }

  /**
   * Loads the parent's decoder, or a checkpoint of the stage itself; without either the weights are
   * drawn from the seed.
   *
   * @throws {CannotError} When a checkpoint is of another model.
   * @throws {RangeError} When the configuration names a reward model and none is given.
   */
  static async open(options: SftOptions): Promise<Sft> {
    const { device, config, model, judge } = options;
    if (config.reward !== undefined && !judge) {
      throw new RangeError(
        `Cannot choose by reward: want the model of "${config.reward}": got none`,
      );
    }
    const weights = new Weights(device, model, { trainable: true });
    const stepper = await SftStep.create(device, weights, {
      rows: config.microRows ?? config.batchRows,
      packed: config.packing,
      settings: config,
      dropout: config.dropout,
      seed: config.seed,
      turns: options.turns,
    });
    return await new Sft(options, stepper).loaded();
  }

  /** The dialogues of each row of a step; a function of the seed and the step. */
  rows(step: number): (readonly EncodedDialogue[])[] {
    return this.plan.examples(step).map((i) => this.#rows[i]!);
  }

  /** The micro-batches of a step, text of pre-training among them; a function of seed and step. */
  override batches(step: number): ResponseBatch[] {
    const { config, model } = this.options;
    const own = this.rows(step);
    // Packed rows are full, so that one plan is enough.
    const T = config.packing ? rowTokens(config, model) : batchLength(own, model);
    const text = this.#pretrainRows(step, own.length, T).map((window) => [window]);
    const R = config.microRows ?? config.batchRows;
    return batchesOf([...own, ...text], { R, T }, config.packing);
  }

  /** Rows of pre-training's text beside so many of dialogues; all of their tokens are learnt. */
  #pretrainRows(step: number, rows: number, T: number): EncodedDialogue[] {
    const windows = this.#windows;
    if (!windows) return [];
    const { pretrainShare: share, batchRows } = this.config;
    const rowsOf = (count: number) => Math.round(count * share / (1 - share));
    const { train } = this.options.data.pretrain!;
    return Array.from({ length: rowsOf(rows) }, (_, row) => {
      const ids = new Uint32Array(T);
      train.read(windows.start(step * rowsOf(batchRows) + row), ids);
      return { ids, isResponse: new Uint8Array(T).fill(1) };
    });
  }

  /** The loss of all responses that are held out, and what answers to their prompts are worth. */
  override async evaluate(): Promise<SftEvaluation> {
    const { config, data, model } = this.options;
    const dialogues = data.dev.toSorted((a, b) => a.ids.length - b.ids.length);
    const batches = function* () {
      for (let start = 0; start < dialogues.length; start += EVALUATION_ROWS) {
        const rows = dialogues.slice(start, start + EVALUATION_ROWS).map((each) => [each]);
        const T = batchLength(rows, model);
        yield* batchesOf(rows, { R: EVALUATION_ROWS, T }, false);
      }
    };
    const { loss, tokens } = await this.#evaluator.run(batches());
    const found = { loss, perplexity: Math.exp(loss), tokens };
    const rewarded = await this.#answers?.run(data.dev.slice(0, config.evalRows || undefined));
    const score = rewarded && -rewarded.reward;
    return { kind: "evaluation", step: this.step, ...found, rewarded, score };
  }

  /** Gives the GPU's memory back. */
  override destroy(): void {
    this.#answers?.destroy();
    this.#evaluator.destroy();
    super.destroy();
  }
}

/**
 * The dialogues of each row that a run trains on: one, or as many as packing gives it. Which share
 * a row depends on the data alone, and stays so in all epochs.
 */
export function sftRows(
  dialogues: readonly EncodedDialogue[],
  config: Pick<SftConfig, "packing" | "maxTokens">,
  model: Pick<ModelConfig, "contextLength">,
): (readonly EncodedDialogue[])[] {
  if (!config.packing) return dialogues.map((each) => [each]);
  return packRows(dialogues.map(({ ids }) => ids.length), rowTokens(config, model))
    .map((row) => row.map((i) => dialogues[i]!));
}

function tokensOf(row: readonly EncodedDialogue[]): number {
  return row.reduce((sum, { ids }) => sum + ids.length, 0);
}

/** The most tokens of a row, padding among them. */
export function rowTokens(
  { maxTokens }: Pick<SftConfig, "maxTokens">,
  { contextLength }: Pick<ModelConfig, "contextLength">,
): number {
  return paddedLength(maxTokens ?? contextLength, contextLength);
}

function batchLength(
  rows: readonly (readonly EncodedDialogue[])[],
  { contextLength }: ModelConfig,
): number {
  return paddedLength(Math.max(...rows.map(tokensOf)), contextLength);
}

/** Batches of R rows and one length. */
function batchesOf(
  rows: readonly (readonly EncodedDialogue[])[],
  shape: { R: number; T: number },
  packing: boolean,
): ResponseBatch[] {
  const batches: ResponseBatch[] = [];
  for (let start = 0; start < rows.length; start += shape.R) {
    const part = rows.slice(start, start + shape.R);
    batches.push(packing ? packedBatch(part, shape) : responseBatch(part.flat(), shape));
  }
  return batches;
}

/**
 * What the stages that train for epochs have in common: weights, the step that updates them, where
 * they are in their epochs, and checkpoints. A stage adds its batches and its evaluation.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import type { ModelConfig } from "../model/config.ts";
import type { Weights } from "../model/parameters.ts";
import type { Checkpoint, CheckpointFile } from "../run/checkpoint.ts";
import type { RunWriter } from "../run/run_folder.ts";
import { loadTrainerState, type Trained, trainerFiles } from "./checkpoint.ts";
import type { EpochConfig } from "./epoch_config.ts";
import { type EpochEvaluation, EpochPlan, type EpochStage } from "./epochs.ts";
import { loadGrown } from "./grow.ts";
import type { Health } from "./health.ts";

/** What such a stage is given. */
export interface EpochTrainingOptions {
  /** Where it runs; whoever opened it closes it. */
  readonly device: Device;
  /** Of the stage. */
  readonly config: EpochConfig;
  /** The decoder, with rows for the tokens of a dialogue. */
  readonly model: ModelConfig;
  /** What is trained on, and what is held out. */
  readonly data: { readonly train: readonly unknown[]; readonly dev: readonly unknown[] };
  /** JSON of tokenizer files that every checkpoint carries. */
  readonly tokenizerFiles: Readonly<Record<string, unknown>>;
  /** The checkpoint whose decoder it starts from; unused where one is gone on from. */
  readonly parent?: Checkpoint | undefined;
  /** Goes on from here; whoever opened it takes the run back to it. */
  readonly checkpoint?: Checkpoint | undefined;
}

/** The updates of a stage. */
export interface EpochStepper<B, R> {
  /** Weights and moments. */
  readonly inner: Trained;
  /** Queues one update. */
  run(step: number, batches: readonly B[], lr: number): Promise<void>;
  /** Results that have arrived, in order, without waiting. */
  take(): R[];
  /** Waits for the results of all queued steps. */
  drain(): Promise<R[]>;
  /** Gives everything back but the weights. */
  destroy(): void;
}

/** Everything that a step changes: weights, moments and the step itself. */
export abstract class EpochTraining<
  O extends EpochTrainingOptions,
  B,
  R extends Health,
  E extends EpochEvaluation,
> implements EpochStage<R, E> {
  /** As they were given. */
  readonly options: O;
  /** What is trained, heads among it. */
  readonly weights: Weights;
  /** Steps and epochs. */
  readonly plan: EpochPlan;
  /** Updates done. */
  step = 0;
  /** Asks the stage to save and end after the step under way. */
  stopping = false;
  readonly #stepper: EpochStepper<B, R>;

  /**
   * Owns the stepper and its weights from now on.
   *
   * @param lengths of the examples that an epoch goes through
   */
  protected constructor(options: O, stepper: EpochStepper<B, R>, lengths: readonly number[]) {
    this.options = options;
    this.weights = stepper.inner.weights;
    this.plan = new EpochPlan(lengths, options.config);
    this.#stepper = stepper;
  }

  /** The micro-batches of a step; a function of the seed and the step. */
  abstract batches(step: number): B[];

  /** Over all examples that are held out. */
  abstract evaluate(): Promise<E>;

  /** Of the stage. */
  get config(): O["config"] {
    return this.options.config;
  }

  /** Examples that are held out. */
  get heldOut(): number {
    return this.options.data.dev.length;
  }

  /** Loads what it starts from, or gives everything back where it cannot. */
  protected async loaded(): Promise<this> {
    try {
      await this.load();
      return this;
    } catch (error) {
      this.destroy();
      throw error;
    }
  }

  /**
   * Loads a checkpoint of the stage itself, else the parent's decoder; without either the weights
   * are drawn from the seed.
   *
   * @throws {CannotError} When a checkpoint is of another model.
   */
  protected async load(): Promise<void> {
    const { device, checkpoint, parent, config: { seed } } = this.options;
    if (checkpoint) {
      this.step = (await loadTrainerState(device, checkpoint, this.#stepper.inner)).step;
    } else if (parent) loadGrown(device, parent, this.weights, seed);
    else this.weights.initialise(device, seed);
  }

  /** Queues the next update. */
  async advance(): Promise<void> {
    await this.#stepper.run(this.step, this.batches(this.step), this.plan.learningRate(this.step));
    this.step++;
  }

  /** Results that have arrived, in order, without waiting. */
  take(): R[] {
    return this.#stepper.take();
  }

  /** Waits for the results of all queued steps. */
  drain(): Promise<R[]> {
    return this.#stepper.drain();
  }

  /**
   * What a checkpoint holds.
   *
   * @param modelFields of `config.json`, over those of the decoder
   */
  protected files(
    step: number = this.step,
    modelFields: Readonly<Record<string, unknown>> = {},
  ): CheckpointFile[] {
    const { device, tokenizerFiles } = this.options;
    const state = { step, cursor: null };
    return trainerFiles(device, this.#stepper.inner, state, tokenizerFiles, modelFields);
  }

  /** Saves all that a resume needs; the metrics so far belong to it. */
  async save(run: RunWriter, score: number | undefined): Promise<void> {
    const keep = { last: this.config.keep, best: true };
    await run.save({ step: this.step, score, keep, files: this.files() });
  }

  /** Gives the GPU's memory back. */
  destroy(): void {
    this.#stepper.destroy();
    this.weights.destroy();
  }
}

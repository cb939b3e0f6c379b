/**
 * Pre-training: next-token prediction on a stream of tokens, from a run to a run.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { ActivationPool } from "../gpu/pool.ts";
import { CannotError } from "../config/cannot.ts";
import {
  type BatchReader,
  type DataCursor,
  RandomWindows,
  resumeReader,
  SequentialEpochs,
  wholeSplit,
} from "../data/batches.ts";
import type { PreparedData } from "../data/prepare.ts";
import type { ModelConfig } from "../model/config.ts";
import { Weights } from "../model/parameters.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import type { RunWriter } from "../run/run_folder.ts";
import { loadTrainerState, trainerFiles } from "./checkpoint.ts";
import { type EvaluationBatch, Evaluator } from "./evaluate.ts";
import type { PretrainConfig } from "./pretrain_config.ts";
import { batchRows, learningRate } from "./schedule.ts";
import { type Batch, type StepResult, TrainStep } from "./step.ts";

/** What a stage reports while it goes on. */
export type StepEvent =
  | ({ readonly kind: "step" } & StepResult)
  | {
    readonly kind: "evaluation";
    readonly step: number;
    /** Mean over the evaluated tokens of the validation split, in nats a token. */
    readonly loss: number;
    readonly perplexity: number;
    /** Nats a token over the split's bytes a token, in bits. */
    readonly bitsPerByte: number;
    readonly tokens: number;
    readonly wholeSplit: boolean;
  }
  | { readonly kind: "saved"; readonly step: number };

/** What the stage is given. */
export interface PretrainOptions {
  readonly device: Device;
  readonly config: PretrainConfig;
  readonly model: ModelConfig;
  readonly data: PreparedData;
  readonly run: RunWriter;
  /** JSON of tokenizer files that every checkpoint carries. */
  readonly tokenizerFiles: Readonly<Record<string, unknown>>;
  /** Goes on from here; the run's metrics are cut back to it. */
  readonly checkpoint?: Checkpoint | undefined;
}

/** Everything that a step changes: weights, moments, the reader's place and the step itself. */
export class Pretraining {
  readonly options: PretrainOptions;
  readonly weights: Weights;
  readonly stepper: TrainStep;
  readonly #pool: ActivationPool;
  readonly #evaluator: Evaluator;
  readonly #reader: BatchReader;
  readonly #B: number;
  readonly #T: number;
  /** Updates done. */
  step: number;
  /** Asks the stage to save and end after the step under way. */
  stopping = false;

  private constructor(
    options: PretrainOptions,
    parts: { weights: Weights; stepper: TrainStep; pool: ActivationPool; evaluator: Evaluator },
    start: { step: number; reader: BatchReader },
    shape: { B: number; T: number },
  ) {
    this.options = options;
    this.weights = parts.weights;
    this.stepper = parts.stepper;
    this.#pool = parts.pool;
    this.#evaluator = parts.evaluator;
    this.#reader = start.reader;
    this.step = start.step;
    this.#B = shape.B;
    this.#T = shape.T;
  }

  /**
   * Makes fresh weights, or loads those of a checkpoint.
   *
   * @throws {CannotError} When the checkpoint is of another model or other data.
   */
  static async open(options: PretrainOptions): Promise<Pretraining> {
    const { device, config, model, data, checkpoint } = options;
    const B = config.microRows ?? config.batchRows;
    const T = config.sequenceLength ?? model.contextLength;
    const weights = new Weights(device, model, { trainable: true });
    const stepper = await TrainStep.create(device, weights, {
      B,
      T,
      settings: config,
      dropout: config.dropout,
      seed: config.seed,
    });
    const pool = new ActivationPool(device);
    const evaluator = await Evaluator.create(device, weights, { B, T }, pool);
    const parts = { weights, stepper, pool, evaluator };
    if (checkpoint) {
      const state = await loadTrainerState(device, checkpoint, stepper);
      const reader = resumeReader(data.train, state.cursor as DataCursor);
      return new Pretraining(options, parts, { step: state.step, reader }, { B, T });
    }
    weights.initialise(device, config.seed);
    const Reader = config.order === "random" ? RandomWindows : SequentialEpochs;
    const reader = new Reader(data.train, { T, seed: config.seed });
    return new Pretraining(options, parts, { step: 0, reader }, { B, T });
  }

  /** Queues the next update. */
  async advance(): Promise<void> {
    const { config } = this.options;
    const rows = batchRows(this.step, {
      start: config.ramp.startRows,
      full: config.batchRows,
      rampSteps: config.ramp.steps,
      multiple: this.#B,
    });
    const batches: Batch[] = [];
    for (let row = 0; row < rows; row += this.#B) {
      const { inputs, targets } = this.#reader.next(this.#B);
      batches.push({ ids: inputs, targets });
    }
    const schedule = { ...config, totalSteps: config.steps, shape: config.schedule };
    await this.stepper.run(this.step, batches, learningRate(this.step, schedule));
    this.step++;
  }

  /** Mean loss over the first batches of the validation split, or over all of it. */
  async evaluate(batchCount: number): Promise<StepEvent> {
    const { data } = this.options;
    const all = batchCount === 0;
    const batches = wholeSplit(data.val, { B: this.#B, T: this.#T });
    const { loss, tokens } = await this.#evaluator.run(all ? batches : first(batches, batchCount));
    const bytesPerToken = data.info.val.bytes / data.info.val.tokens;
    return {
      kind: "evaluation",
      step: this.step,
      loss,
      perplexity: Math.exp(loss),
      bitsPerByte: loss / Math.LN2 / bytesPerToken,
      tokens,
      wholeSplit: all || tokens === data.val.count - 1,
    };
  }

  /** Saves all that a resume needs; the metrics so far belong to it. */
  async save(score: number | undefined): Promise<StepEvent> {
    const { device, run, config, tokenizerFiles } = this.options;
    await run.save({
      step: this.step,
      score,
      keep: { last: config.keep, best: true },
      files: trainerFiles(device, this.stepper, {
        step: this.step,
        cursor: this.#reader.cursor,
      }, tokenizerFiles),
    });
    return { kind: "saved", step: this.step };
  }

  /** Gives the GPU's memory back. */
  destroy(): void {
    this.stepper.destroy();
    this.#evaluator.destroy();
    this.#pool.destroy();
    this.weights.destroy();
  }
}

/**
 * Trains to the end of the configuration, or until asked to stop; yields what happened, a few steps
 * late. The last checkpoint is always evaluated over the whole validation split.
 *
 * @throws {CannotError} When the loss or a gradient is no number: the last checkpoint stays.
 */
export async function* pretrain(state: Pretraining): AsyncGenerator<StepEvent> {
  const { config } = state.options;
  const start = state.step;
  for (;;) {
    const last = state.step >= config.steps || state.stopping;
    const evaluates = last || state.step % config.evalEvery === 0;
    const saves = last || (state.step > start && state.step % config.saveEvery === 0);
    if (evaluates || saves) {
      yield* healthy(await state.stepper.drain());
      let score: number | undefined;
      if (evaluates && state.options.data.val.count > 1) {
        // An interrupted run is saved at once; only a finished one takes the time for all of it.
        const finished = state.step >= config.steps;
        const event = await state.evaluate(finished ? 0 : config.evalBatches);
        if (event.kind === "evaluation") score = event.loss;
        yield event;
      }
      if (saves && state.step > start) yield await state.save(score);
    }
    if (last) return;
    await state.advance();
    yield* healthy(state.stepper.take());
    // Results arrive as events: let them in.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

/** @throws {CannotError} On the first result that is no number. */
function* healthy(results: StepResult[]): Generator<StepEvent> {
  for (const result of results) {
    if (result.skipped || !Number.isFinite(result.loss) || !Number.isFinite(result.gradNorm)) {
      throw new CannotError(
        `go on after step ${result.step}`,
        "want a finite loss and gradient",
        `loss ${result.loss}, gradient norm ${result.gradNorm}; the last checkpoint is unharmed: ` +
          "resume it with a smaller lr or a longer warm-up",
      );
    }
    yield { kind: "step", ...result };
  }
}

function* first(
  batches: Iterable<EvaluationBatch>,
  count: number,
): Generator<EvaluationBatch> {
  for (const batch of batches) {
    if (count-- === 0) return;
    yield batch;
  }
}

/**
 * Pre-training: next-token prediction on a stream of tokens, from a run to a run.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { eventLoopTurn } from "../gpu/event_loop.ts";
import type { Turns } from "../gpu/turns.ts";
import { ActivationPool } from "../gpu/pool.ts";
import {
  type BatchReader,
  type DataCursor,
  RandomWindows,
  resumeReader,
  SequentialEpochs,
  wholeSplit,
} from "../data/batches.ts";
import type { PreparedData } from "../data/prepare.ts";
import { TokenGenerator } from "../infer/generator.ts";
import { sampleText, startIds } from "../infer/text.ts";
import type { ModelConfig } from "../model/config.ts";
import { Weights } from "../model/parameters.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import type { RunWriter } from "../run/run_folder.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { loadTrainerState, trainerFiles } from "./checkpoint.ts";
import { type EvaluationBatch, Evaluator } from "./evaluate.ts";
import { healthy, stopUnhealthy } from "./health.ts";
import type { PretrainConfig } from "./pretrain_config.ts";
import { batchRows, learningRate } from "./schedule.ts";
import { type Batch, type StepResult, TrainStep } from "./step.ts";

/** What a stage reports while it goes on. */
export type StepEvent =
  | ({ readonly kind: "step" } & StepResult)
  | EvaluationEvent
  | {
    readonly kind: "sample";
    readonly step: number;
    /** Written on from the start of a line. */
    readonly text: string;
  }
  | { readonly kind: "saved"; readonly step: number };

/** What an evaluation found. */
export interface EvaluationEvent {
  /** Tells events apart. */
  readonly kind: "evaluation";
  /** Updates done. */
  readonly step: number;
  /** Mean over the evaluated tokens of the validation split, in nats a token. */
  readonly loss: number;
  /** e to the loss. */
  readonly perplexity: number;
  /** Nats a token over the split's bytes a token, in bits. */
  readonly bitsPerByte: number;
  /** Evaluated ones. */
  readonly tokens: number;
  /** Whether that was all of the split. */
  readonly wholeSplit: boolean;
}

/** What the stage is given. */
export interface PretrainOptions {
  /** Where it runs; whoever opened it closes it. */
  readonly device: Device;
  /** Of the stage. */
  readonly config: PretrainConfig;
  /** The decoder. */
  readonly model: ModelConfig;
  /** Long enough for the configuration. */
  readonly data: PreparedData;
  /** JSON of tokenizer files that every checkpoint carries. */
  readonly tokenizerFiles: Readonly<Record<string, unknown>>;
  /** Of the texts that are written at evaluations; without it there are none. */
  readonly tokenizer?: Tokenizer | undefined;
  /** Goes on from here; whoever opened it takes the run back to it. */
  readonly checkpoint?: Checkpoint | undefined;
  /** When parts of it may be submitted. @default at once */
  readonly turns?: Turns | undefined;
}

/** Everything that a step changes: weights, moments, the reader's place and the step itself. */
export class Pretraining {
  /** As they were given. */
  readonly options: PretrainOptions;
  /** What is trained. */
  readonly weights: Weights;
  /** Gradients, moments and plans of a step. */
  readonly stepper: TrainStep;
  readonly #pool: ActivationPool;
  readonly #evaluator: Evaluator;
  #generator: TokenGenerator | undefined;
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
      recompute: config.recomputeActivations,
      turns: options.turns,
    });
    const pool = new ActivationPool(device);
    const evaluator = await Evaluator.create(device, weights, { B, T }, {
      pool,
      turns: options.turns,
    });
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
  async evaluate(batchCount: number): Promise<EvaluationEvent> {
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

  /** Writes a text with the weights as they are; undefined where none is asked for. */
  async sample(): Promise<StepEvent | undefined> {
    const { device, config, model, tokenizer } = this.options;
    if (!tokenizer || config.sampleTokens === 0 || model.contextLength < 2) return undefined;
    this.#generator ??= new TokenGenerator(device, this.weights, { pool: this.#pool });
    const text = await sampleText(this.#generator, tokenizer, startIds(tokenizer), {
      maxTokens: config.sampleTokens,
      temperature: 0.8,
      seed: config.seed,
    });
    return { kind: "sample", step: this.step, text };
  }

  /** Saves all that a resume needs; the metrics so far belong to it. */
  async save(run: RunWriter, score: number | undefined): Promise<StepEvent> {
    const { device, config, tokenizerFiles } = this.options;
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
    this.#generator?.destroy();
    this.#pool.destroy();
    this.weights.destroy();
  }
}

/**
 * Trains to the end of the configuration, or until asked to stop; yields what happened, a few steps
 * late. The last checkpoint is always evaluated over the whole validation split.
 *
 * @throws {CannotError} When a loss or a gradient is no number: the last checkpoint stays.
 */
export async function* pretrain(state: Pretraining, run: RunWriter): AsyncGenerator<StepEvent> {
  const { config, data } = state.options;
  const start = state.step;
  for (;;) {
    const finished = state.step >= config.steps;
    const last = finished || state.stopping;
    const advanced = state.step > start;
    // What was due where a resumed run begins was done before its checkpoint was saved.
    const evaluates = (advanced || start === 0) && data.val.count > 1 &&
      (finished || state.step % config.evalEvery === 0);
    const saves = advanced && (last || state.step % config.saveEvery === 0);
    if (evaluates || saves) {
      yield* healthy(await state.stepper.drain(), run);
      let score: number | undefined;
      if (evaluates) {
        const event = await state.evaluate(finished ? 0 : config.evalBatches);
        if (!Number.isFinite(event.loss)) {
          await stopUnhealthy(run, event.step, `loss ${event.loss}`);
        }
        // Checkpoints are compared by their loss on the same tokens, the last one too.
        score = finished && config.evalBatches > 0
          ? (await state.evaluate(config.evalBatches)).loss
          : event.loss;
        yield event;
        const sample = advanced && await state.sample();
        if (sample) yield sample;
      }
      if (saves) yield await state.save(run, score);
    }
    if (last) return;
    const isFirst = state.step === start;
    await state.advance();
    // The first one compiles every kernel: waiting for it keeps that out of the others' time.
    yield* healthy(isFirst ? await state.stepper.drain() : state.stepper.take(), run);
    // Results arrive as events: let them in.
    await eventLoopTurn();
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

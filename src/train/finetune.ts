/**
 * Supervised fine-tuning: a pre-trained decoder and a new head on examples of one task, from a run
 * to a run.
 *
 * @module
 */
import { copiesOf } from "../data/task_kind.ts";
import {
  epochOrder,
  paddedLength,
  stepsPerEpoch,
  type TaskBatch,
  taskBatch,
} from "../data/task_batches.ts";
import { headToJson } from "../data/task_head.ts";
import type { Device } from "../gpu/device.ts";
import { eventLoopTurn } from "../gpu/event_loop.ts";
import { predictionOf, softmaxRows, TaskScorer } from "../infer/task_scorer.ts";
import type { ModelConfig } from "../model/config.ts";
import { scoreSpec, type TaskShape } from "../model/heads.ts";
import { Weights } from "../model/parameters.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import type { RunWriter } from "../run/run_folder.ts";
import { loadTrainerState, trainerFiles } from "./checkpoint.ts";
import type { FinetuneConfig } from "./finetune_config.ts";
import type { FinetuneData, TaskExample } from "./finetune_data.ts";
import { type FinetuneResult, FinetuneStep } from "./finetune_step.ts";
import { loadGrown } from "./grow.ts";
import { healthy, stopUnhealthy } from "./health.ts";
import { type TaskMetrics, taskMetrics } from "./task_metrics.ts";
import { learningRate } from "./schedule.ts";

/** What the stage reports while it goes on. */
export type FinetuneEvent =
  | ({ readonly kind: "step" } & FinetuneResult)
  | TaskEvaluation
  | { readonly kind: "saved"; readonly step: number };

/** What an evaluation found. */
export interface TaskEvaluation {
  /** Tells events apart. */
  readonly kind: "evaluation";
  /** Updates done. */
  readonly step: number;
  /** L2: mean over the examples, in nats. */
  readonly loss: number;
  /** By name; the first is the one that checkpoints are compared by. */
  readonly metrics: TaskMetrics;
  /** Evaluated ones. */
  readonly examples: number;
}

/** What the stage is given. */
export interface FinetuneOptions {
  /** Where it runs; whoever opened it closes it. */
  readonly device: Device;
  /** Of the stage. */
  readonly config: FinetuneConfig;
  /** The decoder, with rows for the task's tokens. */
  readonly model: ModelConfig;
  /** Examples in tokens. */
  readonly data: FinetuneData;
  /** JSON of tokenizer files that every checkpoint carries. */
  readonly tokenizerFiles: Readonly<Record<string, unknown>>;
  /** Padding for who loads the model elsewhere; undefined where the tokenizer has none. */
  readonly padId?: number | undefined;
  /** The checkpoint whose decoder is fine-tuned; unused where one is gone on from. */
  readonly parent?: Checkpoint | undefined;
  /** Goes on from here; whoever opened it takes the run back to it. */
  readonly checkpoint?: Checkpoint | undefined;
}

/** Examples of an evaluation's batch. */
const EVALUATION_ROWS = 32;

/** Everything that a step changes: weights, moments and the step itself. */
export class Finetuning {
  /** As they were given. */
  readonly options: FinetuneOptions;
  /** What is trained: the decoder and the head. */
  readonly weights: Weights;
  /** Gradients, moments and plans of a step. */
  readonly stepper: FinetuneStep;
  /** Updates of the whole run. */
  readonly totalSteps: number;
  /** Updates of an epoch. */
  readonly epochSteps: number;
  /** Updates done. */
  step = 0;
  /** Asks the stage to save and end after the step under way. */
  stopping = false;
  readonly #shape: TaskShape;
  readonly #scorer: TaskScorer;
  #order: { epoch: number; steps: number[][] } | undefined;

  private constructor(options: FinetuneOptions, weights: Weights, stepper: FinetuneStep) {
    const { config, data, device } = options;
    this.options = options;
    this.weights = weights;
    this.stepper = stepper;
    this.epochSteps = stepsPerEpoch(data.train.length, config.batchRows);
    this.totalSteps = config.epochs * this.epochSteps;
    this.#shape = shapeOf(options, config.microRows ?? config.batchRows);
    const shape = shapeOf(options, EVALUATION_ROWS);
    this.#scorer = new TaskScorer(device, weights, shape, stepper.pool);
  }

  /**
   * Loads the parent's decoder beside a new head, or a checkpoint of the stage itself.
   *
   * @throws {CannotError} When a checkpoint is of another model.
   */
  static async open(options: FinetuneOptions): Promise<Finetuning> {
    const { device, config, model, checkpoint, parent } = options;
    const shape = shapeOf(options, config.microRows ?? config.batchRows);
    const heads = [scoreSpec(shape, model.channels)];
    const weights = new Weights(device, model, { trainable: true, heads });
    const stepper = await FinetuneStep.create(device, weights, {
      shape,
      settings: config,
      auxLmCoef: config.auxLmCoef,
      dropout: config.dropout,
      seed: config.seed,
    });
    const state = new Finetuning(options, weights, stepper);
    try {
      if (checkpoint) state.step = (await loadTrainerState(device, checkpoint, stepper)).step;
      else if (config.init === "pretrained" && parent) {
        loadGrown(device, parent, weights, config.seed);
      } else weights.initialise(device, config.seed);
    } catch (error) {
      state.destroy();
      throw error;
    }
    return state;
  }

  /** Queues the next update. */
  async advance(): Promise<void> {
    const { config } = this.options;
    const schedule = {
      ...config,
      warmupSteps: Math.round(config.warmup * this.totalSteps),
      totalSteps: this.totalSteps,
      shape: config.schedule,
    };
    const lr = learningRate(this.step, schedule);
    await this.stepper.run(this.step, this.batches(this.step), lr);
    this.step++;
  }

  /** The micro-batches of a step; a function of the seed and the step. */
  batches(step: number): TaskBatch[] {
    const { config, data, model } = this.options;
    const epoch = Math.floor(step / this.epochSteps);
    if (this.#order?.epoch !== epoch) {
      const lengths = data.train.map(({ length }) => length);
      const { batchRows: rows, seed } = config;
      this.#order = { epoch, steps: epochOrder(lengths, { rows, seed, epoch }) };
    }
    const examples = this.#order.steps[step % this.epochSteps]!.map((i) => data.train[i]!);
    return batchesOf(examples, this.#shape, model.contextLength);
  }

  /** What the model says now of all examples that are held out. */
  async predict(): Promise<Scored> {
    const { data, model } = this.options;
    const shape = shapeOf(this.options, EVALUATION_ROWS);
    return await scoreAll(
      this.#scorer,
      data.dev,
      shape,
      model.contextLength,
      data.spec.scores,
    );
  }

  /** Loss and metrics over all examples that are held out. */
  async evaluate(): Promise<TaskEvaluation> {
    const { data } = this.options;
    const { loss, predicted } = await this.predict();
    const labels = data.dev.map(({ label }) => label);
    const metrics = taskMetrics(predicted, labels, { ...data.spec, classes: data.classes });
    return { kind: "evaluation", step: this.step, loss, metrics, examples: labels.length };
  }

  /** Saves all that a resume needs; the metrics so far belong to it. */
  async save(run: RunWriter, score: number | undefined): Promise<FinetuneEvent> {
    const { device, config, tokenizerFiles, data, model, padId } = this.options;
    const { classes, labels, spec } = data;
    const head = headToJson({
      ...spec,
      classes,
      labels,
      header: config.header,
      maxTokens: config.maxTokens ?? model.contextLength,
    });
    const files = trainerFiles(
      device,
      this.stepper,
      { step: this.step, cursor: null },
      tokenizerFiles,
      classifierFields(model, this.#shape, labels, padId),
    );
    await run.save({
      step: this.step,
      score,
      keep: { last: config.keep, best: true },
      files: [...files, { path: "head.json", json: head }],
    });
    return { kind: "saved", step: this.step };
  }

  /** Gives the GPU's memory back. */
  destroy(): void {
    this.#scorer.destroy();
    this.stepper.destroy();
    this.weights.destroy();
  }
}

function shapeOf({ config, data }: FinetuneOptions, examples: number): TaskShape {
  return { task: config.task, examples, classes: data.classes };
}

/** Fields of `config.json` that `transformers` reads for a sequence classifier of one text. */
function classifierFields(
  model: ModelConfig,
  { task }: TaskShape,
  labels: readonly string[],
  padId: number | undefined,
): Record<string, unknown> {
  if (task !== "classification" && task !== "entailment") return {};
  const isPlain = model.bias && model.band === 0;
  const name = model.norm === "post" ? "OpenAIGPT" : "GPT2";
  return {
    architectures: isPlain ? [`${name}ForSequenceClassification`] : [],
    num_labels: labels.length,
    id2label: Object.fromEntries(labels.map((label, k) => [k, label])),
    label2id: Object.fromEntries(labels.map((label, k) => [label, k])),
    ...(padId === undefined ? {} : { pad_token_id: padId }),
  };
}

/** Batches of one length for the examples of a step. */
function batchesOf(
  examples: readonly TaskExample[],
  shape: TaskShape,
  contextLength: number,
): TaskBatch[] {
  const longest = Math.max(...examples.map(({ length }) => length));
  const T = paddedLength(longest, contextLength);
  const sizes = { ...shape, copies: copiesOf(shape) };
  const batches: TaskBatch[] = [];
  for (let start = 0; start < examples.length; start += shape.examples) {
    batches.push(taskBatch(examples.slice(start, start + shape.examples), sizes, T));
  }
  return batches;
}

/** What a model says of examples, in their order. */
export interface Scored {
  /** Class, choice or score of each. */
  readonly predicted: Float64Array;
  /** (K) of each. */
  readonly shares: readonly Float32Array[];
  /** Mean over the examples that have a label, in nats; NaN without any. */
  readonly loss: number;
}

/** Scores all examples, those of like length together. */
export async function scoreAll(
  scorer: TaskScorer,
  examples: readonly TaskExample[],
  shape: TaskShape,
  contextLength: number,
  scores?: readonly [number, number],
): Promise<Scored> {
  const order = examples.map((_, i) => i).sort((a, b) => examples[a]!.length - examples[b]!.length);
  const K = shape.classes;
  const batches = function* () {
    for (let start = 0; start < order.length; start += shape.examples) {
      const part = order.slice(start, start + shape.examples).map((i) => examples[i]!);
      yield* batchesOf(part, shape, contextLength);
    }
  };
  const predicted = new Float64Array(examples.length);
  const shares = new Array<Float32Array>(examples.length);
  let [loss, labelled, at] = [0, 0, 0];
  for await (const logits of scorer.run(batches())) {
    const all = softmaxRows(logits, K);
    for (let row = 0; row < all.length; row += K) {
      const index = order[at++]!;
      const own = all.slice(row, row + K);
      shares[index] = own;
      predicted[index] = predictionOf(own, shape.task, scores);
      const { target } = examples[index]!;
      if (!target) continue;
      labelled++;
      target.forEach((share, k) => {
        if (share > 0) loss -= share * Math.log(Math.max(own[k]!, 1e-37));
      });
    }
  }
  return { predicted, shares, loss: loss / labelled };
}

/**
 * Trains for all epochs, or until asked to stop; yields what happened, a few steps late. The last
 * checkpoint is always evaluated.
 *
 * @throws {CannotError} When a loss or a gradient is no number: the last checkpoint stays.
 */
export async function* finetune(
  state: Finetuning,
  run: RunWriter,
): AsyncGenerator<FinetuneEvent> {
  const { config, data } = state.options;
  const start = state.step;
  const isDue = (every: number) => state.step % (every || state.epochSteps) === 0;
  for (;;) {
    const finished = state.step >= state.totalSteps;
    const last = finished || state.stopping;
    const advanced = state.step > start;
    // What was due where a resumed run begins was done before its checkpoint was saved.
    const evaluates = (advanced || start === 0) && data.dev.length > 0 &&
      (finished || isDue(config.evalEvery));
    const saves = advanced && (last || isDue(config.saveEvery));
    if (evaluates || saves) {
      yield* healthy(await state.stepper.drain(), run);
      let score: number | undefined;
      if (evaluates) {
        const event = await state.evaluate();
        if (!Number.isFinite(event.loss)) {
          await stopUnhealthy(run, event.step, `loss ${event.loss}`);
        }
        score = 1 - Object.values(event.metrics)[0]!;
        yield event;
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

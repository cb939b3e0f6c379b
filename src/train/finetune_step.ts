/**
 * The fine-tuning step: L3 = L2 + auxLmCoef · L1, the loss of the task and the language model's on
 * the same texts, from one run of the decoder.
 *
 * Source: A. Radford et al., "Improving Language Understanding by Generative Pre-Training", 2018,
 * section 3.2.
 *
 * @module
 */
import { copiesOf } from "../data/task_kind.ts";
import type { TaskBatch } from "../data/task_batches.ts";
import type { Arena } from "../gpu/arena.ts";
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import type { ActivationPool } from "../gpu/pool.ts";
import { Recent } from "../gpu/recent.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { decoder } from "../model/decoder.ts";
import { extractRows, extractSizes, taskScores, type TaskShape } from "../model/heads.ts";
import { embeddingNames, type Weights } from "../model/parameters.ts";
import { bucketsLength, buildBuckets, checkIds } from "../ops/buckets.ts";
import { type LossState, lossState } from "../ops/cross_entropy.ts";
import { type DropoutState, dropoutState } from "../ops/dropout.ts";
import { lmHeadLoss } from "../ops/lm_head.ts";
import { meanLoss } from "../ops/reduce.ts";
import { softCrossEntropy } from "../ops/soft_cross_entropy.ts";
import { philoxKey } from "../random/philox.ts";
import { Optimiser, type OptimiserSettings, type UpdateResult } from "./optimiser.ts";

/** What a step did, known two or more steps later. */
export interface FinetuneResult {
  /** Counted from 0. */
  readonly step: number;
  /** L3, in nats. */
  readonly loss: number;
  /** L2: mean over the examples of the step. */
  readonly taskLoss: number;
  /** L1: mean over the tokens of the step; NaN where auxLmCoef is 0. */
  readonly lmLoss: number;
  /** Learning rate of the update. */
  readonly lr: number;
  /** Global norm before clipping. */
  readonly gradNorm: number;
  /** Whether the update was left out because the norm was not finite. */
  readonly skipped: boolean;
  /** Live tokens of the step. */
  readonly tokens: number;
}

interface Pending {
  readonly step: number;
  readonly lr: number;
  readonly tokens: number;
}

/** Options of {@linkcode FinetuneStep.create}. */
export interface FinetuneStepOptions {
  /** Of a micro-batch. */
  readonly shape: TaskShape;
  /** Of the update. */
  readonly settings: OptimiserSettings;
  /** Weight of the language model's loss; 0 leaves it out. */
  readonly auxLmCoef: number;
  /** In [0, 1). */
  readonly dropout: number;
  /** Of the dropout masks. */
  readonly seed: number;
}

/** Plans of different lengths that are kept. */
const MOST_PLANS = 8;

/** Scalars that all plans of a step read. */
interface States {
  /** 1 / examples of the step. */
  readonly task: LossState;
  /** auxLmCoef / targets of the step. */
  readonly lm: LossState;
  readonly dropout: DropoutState | undefined;
}

/** Buffers and plans that fine-tune one decoder and its head; a plan a padded length. */
export class FinetuneStep {
  /** What it trains, the head among it; whoever made them gives them back. */
  readonly weights: Weights;
  readonly #optimiser: Optimiser<Pending>;
  readonly #options: FinetuneStepOptions;
  readonly #states: States;
  readonly #plans = new Recent<TaskPlan>(MOST_PLANS);

  private constructor(optimiser: Optimiser<Pending>, options: FinetuneStepOptions) {
    const { device } = optimiser;
    this.weights = optimiser.weights;
    this.#optimiser = optimiser;
    this.#options = options;
    this.#states = {
      task: lossState(device, "task loss"),
      lm: lossState(device, "LM loss"),
      dropout: options.dropout > 0 ? dropoutState(device) : undefined,
    };
    const [seed_lo, seed_hi] = philoxKey(options.seed);
    this.#states.dropout?.set({ seed_lo, seed_hi });
  }

  /** Makes moments of zero. @throws {RangeError} When the weights are frozen. */
  static async create(
    device: Device,
    weights: Weights,
    options: FinetuneStepOptions,
  ): Promise<FinetuneStep> {
    const { settings } = options;
    const sums = ["task loss", "LM loss"];
    return new FinetuneStep(await Optimiser.create(device, weights, { settings, sums }), options);
  }

  /** Where it runs. */
  get device(): Device {
    return this.#optimiser.device;
  }

  /** First moments, laid out as the weights. */
  get m(): Arena {
    return this.#optimiser.m;
  }

  /** Second moments, laid out as the weights. */
  get v(): Arena {
    return this.#optimiser.v;
  }

  /** Activations of its plans; others that never run at the same time may share it. */
  get pool(): ActivationPool {
    return this.#optimiser.pool;
  }

  /**
   * Queues one step: a gradient over all micro-batches, and an update. Nothing is awaited unless
   * results pile up untaken, or a length comes up for which there is no plan.
   *
   * @param step Counted from 0.
   * @param batches of one length
   * @throws {RangeError} When an id is no token of the model, or lengths differ.
   */
  async run(step: number, batches: readonly TaskBatch[], lr: number): Promise<void> {
    const T = batches[0]!.T;
    let [tokens, targets, examples] = [0, 0, 0];
    for (const batch of batches) {
      if (batch.T !== T) {
        throw new RangeError(`Cannot fine-tune on a step: rows of ${T} tokens: got ${batch.T}`);
      }
      checkIds(batch.ids, this.weights.config.vocabSize);
      examples += batch.count;
      for (const length of liveLengths(batch)) {
        tokens += length;
        targets += length - 1;
      }
    }
    const plan = await this.#plans.get(T, () => this.#record(T));
    const { auxLmCoef } = this.#options;
    // One divisor for the whole step, however its examples are spread over micro-batches.
    this.#states.task.set({ scale: examples > 0 ? 1 / examples : 0 });
    this.#states.lm.set({ scale: targets > 0 ? auxLmCoef / targets : 0 });
    await this.#optimiser.run(
      { step, lr, tag: { step, lr, tokens } },
      batches.map((batch, micro) => () => {
        plan.write(batch);
        this.#states.dropout?.set({ step, micro });
        return plan.plan;
      }),
    );
  }

  #record(T: number): Promise<TaskPlan> {
    const [taskSum, lmSum] = this.#optimiser.sums as [Tensor, Tensor];
    return TaskPlan.create(this.#optimiser, T, this.#states, this.#options, { taskSum, lmSum });
  }

  /** Results that have arrived, in order, without waiting. */
  take(): FinetuneResult[] {
    return this.#optimiser.take().map((result) => this.#result(result));
  }

  /** Waits for the results of all queued steps. */
  async drain(): Promise<FinetuneResult[]> {
    return (await this.#optimiser.drain()).map((result) => this.#result(result));
  }

  #result({ tag, sums, ...rest }: UpdateResult<Pending>): FinetuneResult {
    const [taskLoss, weighted] = sums as [number, number];
    const { auxLmCoef } = this.#options;
    const lmLoss = auxLmCoef > 0 ? weighted / auxLmCoef : NaN;
    return { ...tag, ...rest, loss: taskLoss + weighted, taskLoss, lmLoss };
  }

  /** Gives everything back but the weights. */
  destroy(): void {
    this.#plans.destroy();
    this.#optimiser.destroy();
    for (const state of Object.values(this.#states)) state?.destroy();
  }
}

/** Live tokens of the rows of examples that count. */
function liveLengths({ lengths, count, E }: TaskBatch): Uint32Array {
  return lengths.filter((_, row) => row % E < count);
}

/** Forward and backward of one padded length. */
class TaskPlan {
  readonly plan: Plan;
  readonly #device: Device;
  readonly #shape: TaskShape;
  readonly #T: number;
  readonly #inputs: Record<"ids" | "buckets" | "lengths" | "targets" | "mask" | "labels", Tensor>;
  readonly #extract: { rows: Tensor; buckets: Tensor }[];

  private constructor(device: Device, shape: TaskShape, T: number) {
    this.#device = device;
    this.#shape = shape;
    this.#T = T;
    const R = shape.examples * copiesOf(shape);
    this.#inputs = {
      ids: device.tensor("ids", [R, T], "u32"),
      buckets: device.tensor("buckets", [bucketsLength(R * T)], "u32"),
      lengths: device.tensor("lengths", [R], "u32"),
      targets: device.tensor("targets", [R * T], "u32"),
      mask: device.tensor("mask", [R * T]),
      labels: device.tensor("labels", [shape.examples, shape.classes]),
    };
    this.#extract = extractSizes(shape).map((size) => ({
      rows: device.tensor("extract rows", [size], "u32"),
      buckets: device.tensor("extract buckets", [bucketsLength(size)], "u32"),
    }));
    this.plan = new Plan(device, { label: `fine-tune ${T} tokens`, training: true });
  }

  static async create(
    { device, weights, pool }: Pick<Optimiser<unknown>, "device" | "weights" | "pool">,
    T: number,
    states: States,
    options: FinetuneStepOptions,
    into: { taskSum: Tensor; lmSum: Tensor },
  ): Promise<TaskPlan> {
    const { shape, auxLmCoef, dropout: rate } = options;
    const made = new TaskPlan(device, shape, T);
    const { plan } = made;
    const { ids, buckets, lengths, targets, mask, labels } = made.#inputs;
    const dropout = states.dropout && { rate, state: states.dropout };
    try {
      const hidden = decoder(plan, weights, {
        ids,
        buckets,
        lengths,
        ...(dropout ? { dropout } : {}),
      });
      if (auxLmCoef > 0) {
        const { config } = weights;
        const wte = weights.sharded(embeddingNames(config).wte);
        const state = states.lm;
        const rest = { targets, mask, state, V: config.vocabSize };
        const { losses } = lmHeadLoss(plan, hidden, { wte }, rest);
        meanLoss(plan, losses, state, { into: into.lmSum });
      }
      const extract = made.#extract;
      const head = { shape, extract, ...(dropout ? { dropout } : {}) };
      const losses = softCrossEntropy(plan, taskScores(plan, weights, hidden, head), {
        labels,
        state: states.task,
        classes: shape.task === "choice" ? "columns" : "rows",
      });
      meanLoss(plan, losses, states.task, { into: into.taskSum });
      plan.backward();
      await plan.seal(pool);
    } catch (error) {
      made.destroy();
      throw error;
    }
    return made;
  }

  write(batch: TaskBatch): void {
    const { ids, lengths, labels, E, count } = batch;
    const T = this.#T;
    const targets = new Uint32Array(ids.length);
    targets.set(ids.subarray(1));
    const mask = new Float32Array(ids.length);
    lengths.forEach((length, row) => {
      // The last token has no successor; rows of padding examples are one token long.
      if (row % E < count) mask.fill(1, row * T, row * T + length - 1);
    });
    const values = { ids, buckets: buildBuckets(ids), lengths, targets, mask, labels };
    for (const [name, tensor] of Object.entries(this.#inputs)) {
      this.#device.write(tensor, values[name as keyof typeof values]);
    }
    extractRows(this.#shape, T, lengths).forEach((rows, i) => {
      this.#device.write(this.#extract[i]!.rows, rows);
      this.#device.write(this.#extract[i]!.buckets, buildBuckets(rows));
    });
  }

  destroy(): void {
    this.plan.destroy();
    const extract = this.#extract.flatMap(({ rows, buckets }) => [rows, buckets]);
    for (const tensor of [...Object.values(this.#inputs), ...extract]) tensor.destroy();
  }
}

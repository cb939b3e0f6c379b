/**
 * The training step: micro-batches forward and backward into one gradient, its norm, one AdamW
 * update. Everything is recorded once; a step writes inputs and scalars and replays.
 *
 * @module
 */
import { Arena } from "../gpu/arena.ts";
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { ActivationPool } from "../gpu/pool.ts";
import { ReadbackRing } from "../gpu/ring.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { decoder } from "../model/decoder.ts";
import { embeddingNames, type Weights } from "../model/parameters.ts";
import { adamw, adamwState, adamwStep } from "../ops/adamw.ts";
import { type LossState, lossState } from "../ops/cross_entropy.ts";
import { type DropoutState, dropoutState } from "../ops/dropout.ts";
import { bucketsLength, buildBuckets, checkIds } from "../ops/buckets.ts";
import { lmHeadLoss } from "../ops/lm_head.ts";
import { gradNorm, meanLoss } from "../ops/reduce.ts";
import { philoxKey } from "../random/philox.ts";

/** Token ids and what follows each; row-major (B, T). */
export interface Batch {
  /** (B, T) */
  readonly ids: Uint32Array;
  /** (B, T) */
  readonly targets: Uint32Array;
  /** Weight of each target; absent when all count once. */
  readonly mask?: Float32Array;
}

/** Settings of AdamW and of clipping that do not change within a run. */
export interface OptimiserSettings {
  /** Of the first moment. */
  readonly beta1: number;
  /** Of the second moment. */
  readonly beta2: number;
  /** Of the divisor. */
  readonly eps: number;
  /** Of matrices and embeddings, times the learning rate. */
  readonly weightDecay: number;
  /** Largest global norm of the gradient; 0 does not clip. */
  readonly clip: number;
}

/** What a step did, known two or more steps later. */
export interface StepResult {
  /** Counted from 0. */
  readonly step: number;
  /** Mean over the unmasked tokens of the step, in nats. */
  readonly loss: number;
  /** Learning rate of the update. */
  readonly lr: number;
  /** Global norm before clipping. */
  readonly gradNorm: number;
  /** Whether the update was left out because the norm was not finite. */
  readonly skipped: boolean;
  /** Unmasked tokens of the step. */
  readonly tokens: number;
}

interface Pending {
  readonly step: number;
  readonly lr: number;
  readonly tokens: number;
}

/** Buffers and plans that train one decoder on batches of one shape. */
export class TrainStep {
  /** Where it runs. */
  readonly device: Device;
  /** What it trains; whoever made them gives them back. */
  readonly weights: Weights;
  /** First moments, laid out as the weights. */
  readonly m: Arena;
  /** Second moments, laid out as the weights. */
  readonly v: Arena;
  readonly #B: number;
  readonly #T: number;
  readonly #settings: OptimiserSettings;
  readonly #inputs: { ids: Tensor; targets: Tensor; mask: Tensor; buckets: Tensor };
  readonly #loss: LossState;
  readonly #dropout: DropoutState | undefined;
  readonly #adamw: ReturnType<typeof adamwState>;
  readonly #pool: ActivationPool;
  readonly #ring: ReadbackRing<Pending>;
  /** Loss of a micro-batch, added up over the step on the GPU. */
  readonly #lossSum: Tensor;
  readonly #skipped: Tensor;
  readonly #clear: Plan;
  readonly #micro: Plan;
  readonly #update: Plan;
  #norm2!: Tensor;

  /** Use {@linkcode TrainStep.create}. */
  private constructor(device: Device, weights: Weights, options: TrainStepOptions) {
    const { B, T, settings } = options;
    this.device = device;
    this.weights = weights;
    this.#B = B;
    this.#T = T;
    this.#settings = settings;
    const { layout } = weights.values;
    this.m = new Arena(device, "m", layout);
    this.v = new Arena(device, "v", layout);
    this.#inputs = {
      ids: device.tensor("ids", [B, T], "u32"),
      targets: device.tensor("targets", [B * T], "u32"),
      mask: device.tensor("mask", [B * T]),
      buckets: device.tensor("buckets", [bucketsLength(B * T)], "u32"),
    };
    this.#loss = lossState(device);
    this.#adamw = adamwState(device);
    if (options.dropout > 0) {
      this.#dropout = dropoutState(device);
      const [seed_lo, seed_hi] = philoxKey(options.seed);
      this.#dropout.set({ seed_lo, seed_hi });
    }
    this.#lossSum = device.tensor("loss", [1]);
    this.#skipped = device.tensor("skipped", [1], "u32");
    this.#pool = new ActivationPool(device);
    this.#ring = new ReadbackRing(device, { slots: 8, slotBytes: 64 });
    this.#clear = new Plan(device, { label: "clear gradients" });
    this.#micro = new Plan(device, { label: "micro-batch", training: true });
    this.#update = new Plan(device, { label: "update" });
  }

  /**
   * Records the plans for batches of (B, T).
   *
   * @throws {RangeError} When the weights are frozen or a shape exceeds the adapter.
   */
  static async create(
    device: Device,
    weights: Weights,
    options: TrainStepOptions,
  ): Promise<TrainStep> {
    if (!weights.grads) {
      throw new RangeError("Cannot train: weights with gradients: they were made frozen");
    }
    const step = new TrainStep(device, weights, options);
    try {
      await step.#record(weights.grads, options.dropout);
    } catch (error) {
      step.destroy();
      throw error;
    }
    return step;
  }

  async #record(grads: Arena, rate: number): Promise<void> {
    for (const buffer of grads.buffers) this.#clear.clear(buffer);
    this.#clear.clear(this.#lossSum);
    await this.#clear.seal(this.#pool);

    const { ids, targets, mask, buckets } = this.#inputs;
    const micro = this.#micro;
    const hidden = decoder(micro, this.weights, {
      ids,
      buckets,
      ...(this.#dropout ? { dropout: { rate, state: this.#dropout } } : {}),
    });
    const { config } = this.weights;
    const wte = this.weights.sharded(embeddingNames(config).wte);
    const { losses } = lmHeadLoss(micro, hidden, { wte }, {
      targets,
      mask,
      state: this.#loss,
      V: config.vocabSize,
    });
    meanLoss(micro, losses, this.#loss, { into: this.#lossSum });
    micro.backward();
    await micro.seal(this.#pool);

    const update = this.#update;
    this.#norm2 = update.keep(gradNorm(update, grads.buffers));
    const ranges = this.weights.values.buffers.map((value, index) => ({
      value,
      grad: grads.buffers[index]!,
      m: this.m.buffers[index]!,
      v: this.v.buffers[index]!,
      decayed: grads.layout.buffers[index]!.decayed,
    }));
    adamw(update, ranges, { state: this.#adamw, norm2: this.#norm2, skipped: this.#skipped });
    await update.seal(this.#pool);
  }

  /** The plans of a step in the order in which they run, for the profiler. */
  get plans(): readonly Plan[] {
    return [this.#clear, this.#micro, this.#update];
  }

  /** Bytes of activations. */
  get activationBytes(): number {
    return this.#pool.sizeBytes;
  }

  /**
   * Queues one step: a gradient over all micro-batches, and an update. Nothing is awaited unless
   * results pile up untaken.
   *
   * @param step Counted from 0.
   * @throws {RangeError} When an id is no token of the model, or a batch has another shape.
   */
  async run(step: number, batches: readonly Batch[], lr: number): Promise<void> {
    const { device } = this;
    let tokens = 0;
    for (const batch of batches) tokens += this.#checkBatch(batch);
    if (this.#ring.full) await this.#settle();
    const { beta1, beta2, eps, weightDecay, clip } = this.#settings;
    this.#adamw.set(adamwStep({
      lr,
      beta1,
      beta2,
      eps,
      decay: weightDecay,
      step: step + 1,
      ...(clip > 0 ? { maxNorm: clip } : {}),
    }));
    // One divisor for the whole step: masked losses are a mean over all its unmasked tokens.
    this.#loss.set({ scale: tokens > 0 ? 1 / tokens : 0 });
    for (const [micro, batch] of batches.entries()) {
      this.#write(batch);
      this.#dropout?.set({ step, micro });
      const encoder = device.gpu.createCommandEncoder();
      if (micro === 0) this.#clear.encode(encoder);
      this.#micro.encode(encoder);
      if (micro === batches.length - 1) {
        this.#update.encode(encoder);
        const results = [this.#lossSum, this.#norm2, this.#skipped];
        this.#ring.record(encoder, results, { step, lr, tokens });
      }
      device.gpu.queue.submit([encoder.finish()]);
    }
    this.#ring.submitted();
  }

  readonly #settled: StepResult[] = [];
  #skippedBefore = 0;

  /** Results that have arrived, in order, without waiting. */
  take(): StepResult[] {
    for (const arrival of this.#ring.take()) this.#keep(arrival);
    return this.#settled.splice(0);
  }

  /** Waits for the results of all queued steps. */
  async drain(): Promise<StepResult[]> {
    for (const arrival of await this.#ring.drain()) this.#keep(arrival);
    return this.#settled.splice(0);
  }

  async #settle(): Promise<void> {
    const arrival = await this.#ring.next();
    if (arrival) this.#keep(arrival);
  }

  #keep({ tag, values }: { tag: Pending; values: ArrayLike<number>[] }): void {
    const skippedSoFar = values[2]![0]!;
    this.#settled.push({
      ...tag,
      loss: values[0]![0]!,
      gradNorm: Math.sqrt(values[1]![0]!),
      skipped: skippedSoFar > this.#skippedBefore,
    });
    this.#skippedBefore = skippedSoFar;
  }

  /** @returns the batch's unmasked tokens. */
  #checkBatch(batch: Batch): number {
    const count = this.#B * this.#T;
    for (const part of [batch.ids, batch.targets, batch.mask]) {
      if (part === undefined || part.length === count) continue;
      throw new RangeError(
        `Cannot train on a batch: ${this.#B} × ${this.#T} = ${count} tokens: got ${part.length}`,
      );
    }
    checkIds(batch.ids, this.weights.config.vocabSize);
    return batch.mask ? batch.mask.reduce((sum, weight) => sum + weight, 0) : count;
  }

  #write({ ids, targets, mask }: Batch): void {
    const { device } = this;
    device.write(this.#inputs.ids, ids);
    device.write(this.#inputs.targets, targets);
    device.write(this.#inputs.mask, mask ?? new Float32Array(ids.length).fill(1));
    device.write(this.#inputs.buckets, buildBuckets(ids));
  }

  /** Gives everything back but the weights. */
  destroy(): void {
    for (const plan of this.plans) plan.destroy();
    this.#pool.destroy();
    this.#ring.destroy();
    for (const tensor of Object.values(this.#inputs)) tensor.destroy();
    for (const owned of [this.m, this.v, this.#loss, this.#adamw, this.#lossSum, this.#skipped]) {
      owned.destroy();
    }
    this.#dropout?.destroy();
  }
}

/** Options of {@linkcode TrainStep.create}. */
export interface TrainStepOptions {
  /** Rows of a micro-batch. */
  readonly B: number;
  /** Tokens of a row. */
  readonly T: number;
  /** Of the update. */
  readonly settings: OptimiserSettings;
  /** In [0, 1). */
  readonly dropout: number;
  /** Of the dropout masks. */
  readonly seed: number;
}

/**
 * The training step: micro-batches forward and backward into one gradient, its norm, one AdamW
 * update. Everything is recorded once; a step writes inputs and scalars and replays.
 *
 * @module
 */
import type { Arena } from "../gpu/arena.ts";
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { Turns } from "../gpu/turns.ts";
import { decoder } from "../model/decoder.ts";
import { embeddingNames, type Weights } from "../model/parameters.ts";
import { type LossState, lossState } from "../ops/cross_entropy.ts";
import { type DropoutState, dropoutState } from "../ops/dropout.ts";
import { bucketsLength, buildBuckets, checkIds } from "../ops/buckets.ts";
import { lmHeadLoss } from "../ops/lm_head.ts";
import { meanLoss } from "../ops/reduce.ts";
import { philoxKey } from "../random/philox.ts";
import { Optimiser, type OptimiserSettings, type UpdateResult } from "./optimiser.ts";

/** Token ids and what follows each; row-major (B, T). */
export interface Batch {
  /** (B, T) */
  readonly ids: Uint32Array;
  /** (B, T) */
  readonly targets: Uint32Array;
  /** Weight of each target; absent when all count once. */
  readonly mask?: Float32Array;
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
  /** What it trains; whoever made them gives them back. */
  readonly weights: Weights;
  readonly #B: number;
  readonly #T: number;
  readonly #inputs: { ids: Tensor; targets: Tensor; mask: Tensor; buckets: Tensor };
  readonly #loss: LossState;
  readonly #dropout: DropoutState | undefined;
  readonly #optimiser: Optimiser<Pending>;
  readonly #micro: Plan;

  /** Use {@linkcode TrainStep.create}. */
  private constructor(optimiser: Optimiser<Pending>, { B, T, ...options }: TrainStepOptions) {
    const { device, weights } = optimiser;
    this.weights = weights;
    this.#optimiser = optimiser;
    this.#B = B;
    this.#T = T;
    this.#inputs = {
      ids: device.tensor("ids", [B, T], "u32"),
      targets: device.tensor("targets", [B * T], "u32"),
      mask: device.tensor("mask", [B * T]),
      buckets: device.tensor("buckets", [bucketsLength(B * T)], "u32"),
    };
    this.#loss = lossState(device);
    if (options.dropout > 0) {
      this.#dropout = dropoutState(device);
      const [seed_lo, seed_hi] = philoxKey(options.seed);
      this.#dropout.set({ seed_lo, seed_hi });
    }
    this.#micro = new Plan(device, { label: "micro-batch", training: true });
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
    const { settings, turns } = options;
    const optimiser = await Optimiser.create<Pending>(device, weights, {
      settings,
      sums: ["loss"],
      turns,
    });
    const step = new TrainStep(optimiser, options);
    try {
      await step.#record(options);
    } catch (error) {
      step.destroy();
      throw error;
    }
    return step;
  }

  async #record({ dropout: rate, recompute = false }: TrainStepOptions): Promise<void> {
    const { ids, targets, mask, buckets } = this.#inputs;
    const micro = this.#micro;
    const hidden = decoder(micro, this.weights, {
      ids,
      buckets,
      recompute,
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
    meanLoss(micro, losses, this.#loss, { into: this.#optimiser.sums[0]! });
    micro.backward();
    await micro.seal(this.#optimiser.pool);
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

  /** The plans of a step in the order in which they run, for the profiler. */
  get plans(): readonly Plan[] {
    return [this.#optimiser.clear, this.#micro, this.#optimiser.update];
  }

  /** Bytes of activations. */
  get activationBytes(): number {
    return this.#optimiser.pool.sizeBytes;
  }

  /**
   * Queues one step: a gradient over all micro-batches, and an update. Nothing is awaited but
   * turns, unless results pile up untaken.
   *
   * @param step Counted from 0.
   * @throws {RangeError} When an id is no token of the model, or a batch has another shape.
   */
  async run(step: number, batches: readonly Batch[], lr: number): Promise<void> {
    let tokens = 0;
    for (const batch of batches) tokens += this.#checkBatch(batch);
    // One divisor for the whole step: masked losses are a mean over all its unmasked tokens.
    this.#loss.set({ scale: tokens > 0 ? 1 / tokens : 0 });
    const tag = { step, lr, tokens };
    await this.#optimiser.run(
      { step, lr, tag },
      batches.map((batch, micro) => () => {
        this.#write(batch);
        this.#dropout?.set({ step, micro });
        return this.#micro;
      }),
    );
  }

  /** Results that have arrived, in order, without waiting. */
  take(): StepResult[] {
    return this.#optimiser.take().map(stepResult);
  }

  /** Waits for the results of all queued steps. */
  async drain(): Promise<StepResult[]> {
    return (await this.#optimiser.drain()).map(stepResult);
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
    this.#micro.destroy();
    this.#optimiser.destroy();
    for (const tensor of Object.values(this.#inputs)) tensor.destroy();
    this.#loss.destroy();
    this.#dropout?.destroy();
  }
}

function stepResult({ tag, sums, ...rest }: UpdateResult<Pending>): StepResult {
  return { ...tag, ...rest, loss: sums[0]! };
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
  /**
   * Computes the activations of each block once more in the backward instead of keeping them: about
   * a third more work for a fraction of the memory, and the same bits.
   *
   * @default false
   */
  readonly recompute?: boolean;
  /** When parts of it may be submitted. @default at once */
  readonly turns?: Turns | undefined;
}

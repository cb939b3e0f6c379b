/**
 * What every training step shares, whatever its loss: micro-batches into one cleared gradient, its
 * norm, one AdamW update, and the numbers that come back late.
 *
 * @module
 */
import { Arena } from "../gpu/arena.ts";
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { ActivationPool } from "../gpu/pool.ts";
import { ReadbackRing } from "../gpu/ring.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { PartedReplay, type Turns } from "../gpu/turns.ts";
import type { Weights } from "../model/parameters.ts";
import { adamw, adamwState, adamwStep } from "../ops/adamw.ts";
import { gradNorm } from "../ops/reduce.ts";

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

/** What an update did, known two or more steps later. */
export interface UpdateResult<Tag> {
  /** What it was queued with. */
  readonly tag: Tag;
  /** Of the {@linkcode Optimiser.sums}, added up over the micro-batches. */
  readonly sums: readonly number[];
  /** Global norm before clipping. */
  readonly gradNorm: number;
  /** Whether the update was left out because the norm was not finite. */
  readonly skipped: boolean;
}

/** Moments, the plans around the micro-batches, and the readback of one model's training. */
export class Optimiser<Tag> {
  /** Where it runs. */
  readonly device: Device;
  /** What it updates; whoever made them gives them back. */
  readonly weights: Weights;
  /** First moments, laid out as the weights. */
  readonly m: Arena;
  /** Second moments, laid out as the weights. */
  readonly v: Arena;
  /** Activations of all plans of the training, which never run together. */
  readonly pool: ActivationPool;
  /** (1) each, cleared before every step: the micro-batches add to them. */
  readonly sums: readonly Tensor[];
  /** Clears the gradients and the sums. */
  readonly clear: Plan;
  /** The norm and AdamW. */
  readonly update: Plan;
  readonly #settings: OptimiserSettings;
  readonly #adamw: ReturnType<typeof adamwState>;
  readonly #ring: ReadbackRing<Tag>;
  readonly #replay: PartedReplay;
  readonly #skipped: Tensor;
  #norm2!: Tensor;
  readonly #settled: UpdateResult<Tag>[] = [];
  #skippedBefore = 0;

  private constructor(device: Device, weights: Weights, options: OptimiserOptions) {
    this.device = device;
    this.weights = weights;
    this.#settings = options.settings;
    const { layout } = weights.values;
    this.m = new Arena(device, "m", layout);
    this.v = new Arena(device, "v", layout);
    this.pool = new ActivationPool(device);
    this.sums = options.sums.map((label) => device.tensor(label, [1]));
    this.#adamw = adamwState(device);
    this.#skipped = device.tensor("skipped", [1], "u32");
    this.#ring = new ReadbackRing(device, { slots: 8, slotBytes: 64 });
    this.#replay = new PartedReplay(device, options.turns);
    this.clear = new Plan(device, { label: "clear gradients" });
    this.update = new Plan(device, { label: "update" });
  }

  /**
   * Makes moments of zero and records both plans.
   *
   * @throws {RangeError} When the weights are frozen or a shape exceeds the adapter.
   */
  static async create<Tag>(
    device: Device,
    weights: Weights,
    options: OptimiserOptions,
  ): Promise<Optimiser<Tag>> {
    if (!weights.grads) {
      throw new RangeError("Cannot train: weights with gradients: they were made frozen");
    }
    const optimiser = new Optimiser<Tag>(device, weights, options);
    try {
      await optimiser.#record(weights.grads);
    } catch (error) {
      optimiser.destroy();
      throw error;
    }
    return optimiser;
  }

  async #record(grads: Arena): Promise<void> {
    for (const tensor of [...grads.buffers, ...this.sums]) this.clear.clear(tensor);
    await this.clear.seal(this.pool);
    this.#norm2 = this.update.keep(gradNorm(this.update, grads.buffers));
    const ranges = this.weights.values.buffers.map((value, index) => ({
      value,
      grad: grads.buffers[index]!,
      m: this.m.buffers[index]!,
      v: this.v.buffers[index]!,
      decayed: grads.layout.buffers[index]!.decayed,
    }));
    adamw(this.update, ranges, { state: this.#adamw, norm2: this.#norm2, skipped: this.#skipped });
    await this.update.seal(this.pool);
  }

  /**
   * Queues one step: a gradient over all micro-batches, and an update. Nothing is awaited but
   * turns, unless results pile up untaken.
   *
   * @param step Counted from 0.
   * @param micros Each writes its inputs, and returns the plan that adds to gradients and sums.
   */
  async run(
    { step, lr, tag }: { step: number; lr: number; tag: Tag },
    micros: readonly (() => Plan)[],
  ): Promise<void> {
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
    for (const [index, micro] of micros.entries()) {
      const first = index === 0 ? [this.clear] : [];
      if (index < micros.length - 1) await this.#replay.run([...first, micro()]);
      else {
        await this.#replay.run(
          [...first, micro(), this.update],
          (encoder) => this.#ring.record(encoder, [this.#norm2, this.#skipped, ...this.sums], tag),
        );
      }
    }
    this.#ring.submitted();
  }

  /** Results that have arrived, in order, without waiting. */
  take(): UpdateResult<Tag>[] {
    for (const arrival of this.#ring.take()) this.#keep(arrival);
    return this.#settled.splice(0);
  }

  /** Waits for the results of all queued steps. */
  async drain(): Promise<UpdateResult<Tag>[]> {
    for (const arrival of await this.#ring.drain()) this.#keep(arrival);
    return this.#settled.splice(0);
  }

  async #settle(): Promise<void> {
    const arrival = await this.#ring.next();
    if (arrival) this.#keep(arrival);
  }

  #keep({ tag, values }: { tag: Tag; values: ArrayLike<number>[] }): void {
    const [norm2, skippedSoFar, ...sums] = values.map((value) => value[0]!) as [number, number];
    const skipped = skippedSoFar > this.#skippedBefore;
    this.#settled.push({ tag, sums, gradNorm: Math.sqrt(norm2), skipped });
    this.#skippedBefore = skippedSoFar;
  }

  /** Gives everything back but the weights; plans that use the pool must be gone. */
  destroy(): void {
    for (const plan of [this.clear, this.update]) plan.destroy();
    this.pool.destroy();
    this.#ring.destroy();
    for (const owned of [this.m, this.v, this.#adamw, this.#skipped, ...this.sums]) owned.destroy();
  }
}

/** Options of {@linkcode Optimiser.create}. */
export interface OptimiserOptions {
  /** Of the update. */
  readonly settings: OptimiserSettings;
  /** Names of the numbers that a step adds up and reads back, at most 14. */
  readonly sums: readonly string[];
  /** When parts of a step may be submitted. @default at once */
  readonly turns?: Turns | undefined;
}

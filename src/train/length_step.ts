/**
 * A training step over rows of one padded length: a plan for each length that comes up, the latest
 * kept, around the optimiser that every stage shares.
 *
 * @module
 */
import type { Arena } from "../gpu/arena.ts";
import type { Device } from "../gpu/device.ts";
import type { Plan } from "../gpu/plan.ts";
import type { ActivationPool } from "../gpu/pool.ts";
import { Recent } from "../gpu/recent.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { Turns } from "../gpu/turns.ts";
import type { DecoderDropout } from "../model/decoder.ts";
import type { Weights } from "../model/parameters.ts";
import { checkIds } from "../ops/buckets.ts";
import { type DropoutState, dropoutState } from "../ops/dropout.ts";
import { philoxKey } from "../random/philox.ts";
import { Optimiser, type OptimiserSettings, type UpdateResult } from "./optimiser.ts";

/** Rows of a micro-batch, padded to one length. */
export interface LengthBatch {
  /** Tokens in a row. */
  readonly T: number;
  /** (R, T) */
  readonly ids: Uint32Array<ArrayBuffer>;
  /** (R) live tokens of each row, from 1. */
  readonly lengths: Uint32Array<ArrayBuffer>;
}

/** Forward and backward of one padded length. */
export interface LengthPlan<B> {
  /** Adds to gradients and sums. */
  readonly plan: Plan;
  /** Writes what a replay reads. */
  write(batch: B): void;
  /** Gives plan and inputs back. */
  destroy(): void;
}

/** What a plan is recorded with. */
export interface LengthParts {
  /** Where it runs. */
  readonly device: Device;
  /** What is trained. */
  readonly weights: Weights;
  /** Of all plans. */
  readonly pool: ActivationPool;
  /** (1), what the loss of a micro-batch is added to: the first of the sums. */
  readonly loss: Tensor;
  /** (1) each, by the names that were asked for. */
  readonly sums: readonly Tensor[];
  /** Undefined where nothing is dropped. */
  readonly dropout: DecoderDropout | undefined;
}

/** Options of {@linkcode LengthStep.create}. */
export interface LengthStepOptions<B> {
  /** Of the update. */
  readonly settings: OptimiserSettings;
  /** In [0, 1). */
  readonly dropout: number;
  /** Of the dropout masks. */
  readonly seed: number;
  /** Names of what micro-batches add up, the loss first. @default only the loss */
  readonly sums?: readonly string[];
  /** When parts of a step may be submitted. @default at once */
  readonly turns?: Turns | undefined;
  /** Records and seals the plan of a length. */
  record(T: number, parts: LengthParts): Promise<LengthPlan<B>>;
}

/** What every step of a stage reports. */
export interface StepTag {
  /** Counted from 0. */
  readonly step: number;
  /** Learning rate of the update. */
  readonly lr: number;
  /** Live tokens of the step. */
  readonly tokens: number;
}

/** What a step did, known two or more steps later. */
export type LengthResult<Tag extends StepTag> = Tag & {
  /** Of the step, in nats. */
  readonly loss: number;
  /** What was added up, the loss first. */
  readonly sums: readonly number[];
  /** Global norm before clipping. */
  readonly gradNorm: number;
  /** Whether the update was left out because the norm was not finite. */
  readonly skipped: boolean;
};

/** Plans of different lengths that are kept. */
export const MOST_PLANS = 8;

/** Moments and plans that train one model on rows of many lengths. */
export class LengthStep<B extends LengthBatch, Tag extends StepTag> {
  /** What it trains; whoever made them gives them back. */
  readonly weights: Weights;
  readonly #optimiser: Optimiser<Tag>;
  readonly #options: LengthStepOptions<B>;
  readonly #dropout: DropoutState | undefined;
  readonly #plans = new Recent<LengthPlan<B>>(MOST_PLANS);

  private constructor(optimiser: Optimiser<Tag>, options: LengthStepOptions<B>) {
    this.weights = optimiser.weights;
    this.#optimiser = optimiser;
    this.#options = options;
    if (options.dropout > 0) {
      this.#dropout = dropoutState(optimiser.device);
      const [seed_lo, seed_hi] = philoxKey(options.seed);
      this.#dropout.set({ seed_lo, seed_hi });
    }
  }

  /** Makes moments of zero. @throws {RangeError} When the weights are frozen. */
  static async create<B extends LengthBatch, Tag extends StepTag>(
    device: Device,
    weights: Weights,
    options: LengthStepOptions<B>,
  ): Promise<LengthStep<B, Tag>> {
    const { settings, sums = ["loss"], turns } = options;
    const optimiser = await Optimiser.create<Tag>(device, weights, { settings, sums, turns });
    return new LengthStep(optimiser, options);
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

  /** (1) each: what micro-batches add up, cleared before every step. */
  get sums(): readonly Tensor[] {
    return this.#optimiser.sums;
  }

  /** Activations of its plans; others that never run at the same time may share it. */
  get pool(): ActivationPool {
    return this.#optimiser.pool;
  }

  /**
   * Queues one step: a gradient over all micro-batches, and an update. Nothing is awaited but
   * turns, unless results pile up untaken, or a length comes up for which there is no plan.
   *
   * @param batches of one length
   * @param more after them and before the update: each writes its inputs and returns a plan that
   * adds to gradients and sums
   * @throws {RangeError} When there is none, an id is no token of the model, or lengths differ.
   */
  async run(
    tag: Tag,
    batches: readonly B[],
    more: readonly (() => Plan)[] = [],
  ): Promise<void> {
    const T = batches[0]?.T;
    const other = batches.find((batch) => batch.T !== T);
    if (T === undefined || other) {
      const got = other ? `${other.T}` : "no batch";
      throw new RangeError(`Cannot train on a step: batches of ${T ?? "one"} tokens: got ${got}`);
    }
    for (const { ids } of batches) checkIds(ids, this.weights.config.vocabSize);
    const plan = await this.#plans.get(T, () => this.#record(T));
    await this.#optimiser.run(
      { step: tag.step, lr: tag.lr, tag },
      [
        ...batches.map((batch, micro) => () => {
          plan.write(batch);
          this.#dropout?.set({ step: tag.step, micro });
          return plan.plan;
        }),
        ...more,
      ],
    );
  }

  #record(T: number): Promise<LengthPlan<B>> {
    const { device, weights, pool, sums } = this.#optimiser;
    const { dropout: rate, record } = this.#options;
    const dropout = this.#dropout && { rate, state: this.#dropout };
    return record(T, { device, weights, pool, loss: sums[0]!, sums, dropout });
  }

  /** Results that have arrived, in order, without waiting. */
  take(): LengthResult<Tag>[] {
    return this.#optimiser.take().map(resultOf);
  }

  /** Waits for the results of all queued steps. */
  async drain(): Promise<LengthResult<Tag>[]> {
    return (await this.#optimiser.drain()).map(resultOf);
  }

  /** Gives everything back but the weights. */
  destroy(): void {
    this.#plans.destroy();
    this.#optimiser.destroy();
    this.#dropout?.destroy();
  }
}

function resultOf<Tag extends StepTag>(result: UpdateResult<Tag>): LengthResult<Tag> {
  const { tag, sums, gradNorm, skipped } = result;
  return { ...tag, loss: sums[0]!, sums, gradNorm, skipped };
}

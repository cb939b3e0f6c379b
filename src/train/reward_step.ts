/**
 * The step of a reward model: one score a response, and the loss of all comparisons of a prompt.
 *
 * Source: L. Ouyang et al., "Training language models to follow instructions with human feedback",
 * 2022, section 3.5, equation 1.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import type { Turns } from "../gpu/turns.ts";
import { decoder } from "../model/decoder.ts";
import { extractRows, taskScores, type TaskShape } from "../model/heads.ts";
import type { Weights } from "../model/parameters.ts";
import { bucketsLength, buildBuckets } from "../ops/buckets.ts";
import { type LossState, lossState } from "../ops/cross_entropy.ts";
import { pairwise } from "../ops/pairwise.ts";
import { meanLoss } from "../ops/reduce.ts";
import {
  type LengthParts,
  type LengthPlan,
  type LengthResult,
  LengthStep,
  type StepTag,
} from "./length_step.ts";
import type { OptimiserSettings } from "./optimiser.ts";
import type { RewardBatch } from "./reward_batches.ts";

/** What is known of a step when it is queued. */
export interface RewardTag extends StepTag {
  /** Pairs of responses that are compared. */
  readonly pairs: number;
}

/** What a step did; its loss is a mean over prompts. */
export type RewardResult = LengthResult<RewardTag>;

/** Rows of a micro-batch: all K responses of each of E prompts. */
export interface RewardShape {
  /** E. */
  readonly prompts: number;
  /** K: the most responses to a prompt; rows of a prompt that has fewer are padding. */
  readonly responses: number;
}

/** Options of {@linkcode RewardStep.create}. */
export interface RewardStepOptions {
  /** Of a micro-batch. */
  readonly shape: RewardShape;
  /** Of the update. */
  readonly settings: OptimiserSettings;
  /** In [0, 1). */
  readonly dropout: number;
  /** Of the dropout masks. */
  readonly seed: number;
  /** When parts of a step may be submitted. @default at once */
  readonly turns?: Turns | undefined;
}

/** The head of so many rows: one score of the last token of each. */
export function scoreShape(rows: number): TaskShape {
  return { task: "classification", examples: rows, classes: 1 };
}

/** Buffers and plans that train one decoder and its score; a plan a padded length. */
export class RewardStep {
  /** Moments, and what a checkpoint has. */
  readonly inner: LengthStep<RewardBatch, RewardTag>;
  readonly #state: LossState;

  private constructor(inner: LengthStep<RewardBatch, RewardTag>, state: LossState) {
    this.inner = inner;
    this.#state = state;
  }

  /** Makes moments of zero. @throws {RangeError} When the weights are frozen. */
  static async create(
    device: Device,
    weights: Weights,
    { shape, ...options }: RewardStepOptions,
  ): Promise<RewardStep> {
    const state = lossState(device);
    const record = (T: number, parts: LengthParts) => rewardPlan(shape, T, parts, state);
    try {
      const inner = await LengthStep.create<RewardBatch, RewardTag>(device, weights, {
        ...options,
        record,
      });
      return new RewardStep(inner, state);
    } catch (error) {
      state.destroy();
      throw error;
    }
  }

  /**
   * Queues one step. The loss is a mean over the prompts of the step.
   *
   * @param step Counted from 0.
   * @param batches of one length
   * @throws {RangeError} As {@linkcode LengthStep.run}.
   */
  async run(step: number, batches: readonly RewardBatch[], lr: number): Promise<void> {
    const total = (key: "count" | "tokens" | "pairs") =>
      batches.reduce((sum, batch) => sum + batch[key], 0);
    const prompts = total("count");
    this.#state.set({ scale: prompts > 0 ? 1 / prompts : 0 });
    await this.inner.run({ step, lr, tokens: total("tokens"), pairs: total("pairs") }, batches);
  }

  /** Results that have arrived, in order, without waiting. */
  take(): RewardResult[] {
    return this.inner.take();
  }

  /** Waits for the results of all queued steps. */
  drain(): Promise<RewardResult[]> {
    return this.inner.drain();
  }

  /** Gives everything back but the weights. */
  destroy(): void {
    this.inner.destroy();
    this.#state.destroy();
  }
}

async function rewardPlan(
  { prompts: E, responses: K }: RewardShape,
  T: number,
  { device, weights, pool, loss, dropout }: LengthParts,
  state: LossState,
): Promise<LengthPlan<RewardBatch>> {
  const R = E * K;
  const shape = scoreShape(R);
  const inputs = {
    ids: device.tensor("ids", [R, T], "u32"),
    buckets: device.tensor("buckets", [bucketsLength(R * T)], "u32"),
    lengths: device.tensor("lengths", [R], "u32"),
    weights: device.tensor("weights", [E, K, K]),
    rows: device.tensor("extract rows", [R], "u32"),
    rowBuckets: device.tensor("extract buckets", [bucketsLength(R)], "u32"),
  };
  const plan = new Plan(device, { label: `reward ${T} tokens`, training: true });
  const destroy = () => {
    plan.destroy();
    for (const tensor of Object.values(inputs)) tensor.destroy();
  };
  try {
    const { ids, buckets, lengths, rows, rowBuckets } = inputs;
    const dropped = dropout ? { dropout } : {};
    const hidden = decoder(plan, weights, { ids, buckets, lengths, ...dropped });
    const extract = [{ rows, buckets: rowBuckets }];
    const scores = taskScores(plan, weights, hidden, { shape, extract, ...dropped });
    meanLoss(plan, pairwise(plan, scores, { weights: inputs.weights, state }), state, {
      into: loss,
    });
    plan.backward();
    await plan.seal(pool);
  } catch (error) {
    destroy();
    throw error;
  }
  const write = ({ ids, lengths, weights: pairs }: RewardBatch) => {
    const [last] = extractRows(shape, T, lengths) as [Uint32Array<ArrayBuffer>];
    device.write(inputs.ids, ids);
    device.write(inputs.buckets, buildBuckets(ids));
    device.write(inputs.lengths, lengths);
    device.write(inputs.weights, pairs);
    device.write(inputs.rows, last);
    device.write(inputs.rowBuckets, buildBuckets(last));
  };
  return { plan, write, destroy };
}

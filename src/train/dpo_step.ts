/**
 * The step of direct preference optimisation: the logistic loss of how much more likely each
 * response has become than it is under a reference.
 *
 * The log-probability of a whole response decides the slope at each of its tokens, so the head is
 * gone through twice: for the log-probabilities, and, weighted with those slopes, for the gradient.
 *
 * Source: R. Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a
 * Reward Model", 2023, equation 7. Rankings of K responses are all of their pairs over C(K, 2), as
 * in training a reward model.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { decoder } from "../model/decoder.ts";
import { embeddingNames, type Weights } from "../model/parameters.ts";
import { bucketsLength, buildBuckets } from "../ops/buckets.ts";
import { type LossState, lossState } from "../ops/cross_entropy.ts";
import {
  type DpoState,
  dpoState,
  pairMetrics,
  sequenceScores,
  sequenceWeights,
} from "../ops/dpo.ts";
import { lmHeadLoss } from "../ops/lm_head.ts";
import { pairwise } from "../ops/pairwise.ts";
import { meanLoss, sum } from "../ops/reduce.ts";
import type { DpoBatch } from "./dpo_batches.ts";
import {
  type LengthParts,
  type LengthPlan,
  type LengthResult,
  LengthStep,
  type StepTag,
} from "./length_step.ts";
import type { OptimiserSettings } from "./optimiser.ts";
import type { RewardShape } from "./reward_step.ts";

/** What is known of a step when it is queued. */
export interface DpoTag extends StepTag {
  /** Pairs of responses that are compared. */
  readonly pairs: number;
}

/** What a step did; its loss is a mean over prompts, the others over pairs. */
export interface DpoResult extends LengthResult<DpoTag> {
  /** Mean reward β (log π − log π_ref) of better sides. */
  readonly chosen: number;
  /** That of worse sides. */
  readonly rejected: number;
  /** Share of pairs whose better side has the higher reward. */
  readonly accuracy: number;
  /** Mean log-probability of better sides. */
  readonly chosenLogps: number;
  /** That of worse sides. */
  readonly rejectedLogps: number;
}

/** Options of {@linkcode DpoStep.create}. */
export interface DpoStepOptions {
  /** Of a micro-batch. */
  readonly shape: RewardShape;
  /** Of the update. */
  readonly settings: OptimiserSettings;
  /** How much a log-probability counts that differs from the reference's. */
  readonly beta: number;
  /** In [0, 1). */
  readonly dropout: number;
  /** Of the dropout masks. */
  readonly seed: number;
}

/** What micro-batches add up: the loss, then sums over pairs. */
const SUMS = ["loss", "chosen", "rejected", "right", "chosen logps", "rejected logps"];

interface States {
  /** 1 / prompts of the step. */
  readonly prompts: LossState;
  /** 1. */
  readonly unit: LossState;
  readonly dpo: DpoState;
}

/** Buffers and plans that train one decoder on comparisons; a plan a padded length. */
export class DpoStep {
  /** Moments, and what a checkpoint has. */
  readonly inner: LengthStep<DpoBatch, DpoTag>;
  readonly #states: States;

  private constructor(inner: LengthStep<DpoBatch, DpoTag>, states: States) {
    this.inner = inner;
    this.#states = states;
  }

  /** Makes moments of zero. @throws {RangeError} When the weights are frozen. */
  static async create(
    device: Device,
    weights: Weights,
    { shape, beta, ...options }: DpoStepOptions,
  ): Promise<DpoStep> {
    const states = {
      prompts: lossState(device),
      unit: lossState(device),
      dpo: dpoState(device, beta),
    };
    const record = (T: number, parts: LengthParts) => dpoPlan(shape, T, parts, states);
    try {
      const inner = await LengthStep.create<DpoBatch, DpoTag>(device, weights, {
        ...options,
        sums: SUMS,
        record,
      });
      return new DpoStep(inner, states);
    } catch (error) {
      for (const state of Object.values(states)) state.destroy();
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
  async run(step: number, batches: readonly DpoBatch[], lr: number): Promise<void> {
    const total = (key: "count" | "tokens" | "pairs") =>
      batches.reduce((sum, batch) => sum + batch[key], 0);
    const prompts = total("count");
    this.#states.prompts.set({ scale: prompts > 0 ? 1 / prompts : 0 });
    await this.inner.run({ step, lr, tokens: total("tokens"), pairs: total("pairs") }, batches);
  }

  /** Results that have arrived, in order, without waiting. */
  take(): DpoResult[] {
    return this.inner.take().map(resultOf);
  }

  /** Waits for the results of all queued steps. */
  async drain(): Promise<DpoResult[]> {
    return (await this.inner.drain()).map(resultOf);
  }

  /** Gives everything back but the weights. */
  destroy(): void {
    this.inner.destroy();
    for (const state of Object.values(this.#states)) state.destroy();
  }
}

function resultOf(result: LengthResult<DpoTag>): DpoResult {
  const [, ...sums] = result.sums;
  const [chosen, rejected, accuracy, chosenLogps, rejectedLogps] = sums.map((value) =>
    value / result.pairs
  ) as [number, number, number, number, number];
  return { ...result, chosen, rejected, accuracy, chosenLogps, rejectedLogps };
}

async function dpoPlan(
  { prompts: E, responses: K }: RewardShape,
  T: number,
  { device, weights, pool, sums, dropout }: LengthParts,
  states: States,
): Promise<LengthPlan<DpoBatch>> {
  const R = E * K;
  const inputs = {
    ids: device.tensor("ids", [R, T], "u32"),
    buckets: device.tensor("buckets", [bucketsLength(R * T)], "u32"),
    lengths: device.tensor("lengths", [R], "u32"),
    targets: device.tensor("targets", [R * T], "u32"),
    mask: device.tensor("mask", [R * T]),
    reference: device.tensor("reference", [R]),
    weights: device.tensor("weights", [E, K, K]),
  };
  const plan = new Plan(device, { label: `dpo ${T} tokens`, training: true });
  const destroy = () => {
    plan.destroy();
    for (const tensor of Object.values(inputs)) tensor.destroy();
  };
  try {
    const { ids, buckets, lengths, targets, mask, reference } = inputs;
    const hidden = decoder(plan, weights, {
      ids,
      buckets,
      lengths,
      ...(dropout ? { dropout } : {}),
    });
    const { config } = weights;
    const wte = weights.sharded(embeddingNames(config).wte);
    const head = { targets, state: states.unit, V: config.vocabSize };
    const nll = lmHeadLoss(plan, hidden, { wte }, { ...head, mask, gradient: false }).losses;
    const { logps, scores } = sequenceScores(plan, nll, { reference, state: states.dpo });
    const compared = { weights: inputs.weights, state: states.prompts };
    const losses = pairwise(plan, scores, compared);
    const dscores = plan.gradient(scores)!;
    const slopes = sequenceWeights(plan, mask, { dscores, state: states.dpo });
    lmHeadLoss(plan, hidden, { wte }, { ...head, mask: slopes });
    meanLoss(plan, losses, states.prompts, { into: sums[0]! });
    const metrics = pairMetrics(plan, scores, { logps, weights: inputs.weights });
    const { chosen, rejected, right, chosenLogps, rejectedLogps } = metrics;
    [chosen, rejected, right, chosenLogps, rejectedLogps].forEach((each, i) =>
      sum(plan, each, { into: sums[i + 1]! })
    );
    plan.backward();
    await plan.seal(pool);
  } catch (error) {
    destroy();
    throw error;
  }
  const write = (batch: DpoBatch) => {
    device.write(inputs.ids, batch.ids);
    device.write(inputs.buckets, buildBuckets(batch.ids));
    device.write(inputs.lengths, batch.lengths);
    device.write(inputs.targets, batch.targets);
    device.write(inputs.mask, batch.mask);
    device.write(inputs.reference, batch.reference);
    device.write(inputs.weights, batch.weights);
  };
  return { plan, write, destroy };
}

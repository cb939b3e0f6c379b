/**
 * The update of a policy, with the gradients of pre-training mixed in.
 *
 * Source: L. Ouyang et al., "Training language models to follow instructions with human feedback",
 * 2022, section 3.5, equation 2, and appendix C.4.
 *
 * @module
 */
import { Arena } from "../gpu/arena.ts";
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { decoder } from "../model/decoder.ts";
import { embeddingNames, type Weights } from "../model/parameters.ts";
import { blend } from "../ops/blend.ts";
import { type LossState, lossState } from "../ops/cross_entropy.ts";
import { lmHeadChunks } from "../ops/lm_head.ts";
import { policyLoss, type PpoState, ppoState } from "../ops/ppo.ts";
import { meanLoss, sum } from "../ops/reduce.ts";
import {
  type LengthParts,
  type LengthPlan,
  type LengthResult,
  LengthStep,
  type StepTag,
} from "./length_step.ts";
import type { LearntBatch } from "./ppo_batches.ts";
import { EpisodeInputs, type PpoStepOptions } from "./ppo_inputs.ts";
import type { ResponseBatch } from "./sft_batches.ts";
import { responsePlan } from "./sft_step.ts";

/** How text of pre-training is mixed in. */
export interface PtxOptions {
  /** Rows of a micro-batch. */
  readonly rows: number;
  /** Tokens of a row. */
  readonly T: number;
  /** What its gradient is multiplied with. */
  readonly coef: number;
}

/** What an update of the policy did. */
export interface PolicyResult extends Omit<LengthResult<StepTag>, "sums"> {
  /** Half the squared log-ratio, mean over tokens. */
  readonly approxKl: number;
  /** Share of tokens that were clipped. */
  readonly clipShare: number;
  /** Mean over tokens. */
  readonly ratio: number;
  /** -Σ p log p over the vocabulary, in nats, mean over tokens. */
  readonly entropy: number;
  /** Of pre-training, in nats a token; undefined without the mix. */
  readonly ptxLoss: number | undefined;
  /** Norm of the weighted pre-training gradient over that of PPO; undefined without the mix. */
  readonly ptxNormRatio: number | undefined;
}

/** Names of what an update of the policy adds up. */
const POLICY_SUMS = [
  ...["policy", "kl", "clipped", "ratio", "entropy"],
  ...["ptx", "PPO norm²", "ptx norm²"],
];
const PTX_LOSS = 5;
const PPO_NORM2 = 6;
const PTX_NORM2 = 7;

/** Everything beside the policy's own step that the mix needs. */
interface Mix {
  readonly options: PtxOptions;
  readonly state: LossState;
  readonly plan: LengthPlan<ResponseBatch>;
  /** Between the two: PPO's norm, and a copy of its gradient. */
  readonly mark: Plan;
  /** After both: the norm of what came since. */
  readonly difference: Plan;
  readonly scratch: Arena;
}

/** Buffers and plans that train a policy; a plan a padded length. */
export class PolicyStep {
  /** Moments, and what a checkpoint has. */
  readonly inner: LengthStep<LearntBatch, StepTag>;
  readonly #state: LossState;
  readonly #clip: PpoState;
  #mix: Mix | undefined;

  private constructor(
    inner: LengthStep<LearntBatch, StepTag>,
    states: { state: LossState; clip: PpoState },
  ) {
    this.inner = inner;
    this.#state = states.state;
    this.#clip = states.clip;
  }

  /** Makes moments of zero. @throws {RangeError} When the weights are frozen. */
  static async create(
    device: Device,
    weights: Weights,
    { rows, settings, clipRange, ptx, turns }: PpoStepOptions & { ptx?: PtxOptions | undefined },
  ): Promise<PolicyStep> {
    const states = { state: lossState(device), clip: ppoState(device, clipRange) };
    const inner = await LengthStep.create<LearntBatch, StepTag>(device, weights, {
      settings,
      dropout: 0, // the ratio of a policy to itself must be 1
      seed: 0,
      sums: POLICY_SUMS,
      turns,
      record: (T, parts) => policyPlan({ R: rows, T }, parts, states),
    });
    const step = new PolicyStep(inner, states);
    try {
      if (ptx) step.#mix = await makeMix(inner, ptx);
    } catch (error) {
      step.destroy();
      throw error;
    }
    return step;
  }

  /**
   * Queues one update. The loss is a mean over all tokens of responses in it; that of pre-training
   * one over all its tokens, times its coefficient.
   *
   * @param step Counted from 0.
   * @param batches of one length
   * @param text of pre-training; none without the mix
   * @throws {RangeError} As {@linkcode LengthStep.run}.
   */
  async run(
    step: number,
    batches: readonly LearntBatch[],
    lr: number,
    text: readonly ResponseBatch[] = [],
  ): Promise<void> {
    const total = (key: "responseTokens" | "tokens") =>
      batches.reduce((all, batch) => all + batch[key], 0);
    this.#state.set({ scale: 1 / total("responseTokens") });
    const tag = { step, lr, tokens: total("tokens") };
    const mix = this.#mix;
    if (!mix || text.length === 0) return await this.inner.run(tag, batches);
    const count = text.reduce((all, { unmaskedCount }) => all + unmaskedCount, 0);
    mix.state.set({ scale: mix.options.coef / count });
    const micros = text.map((batch) => () => {
      mix.plan.write(batch);
      return mix.plan.plan;
    });
    await this.inner.run(tag, batches, [() => mix.mark, ...micros, () => mix.difference]);
  }

  /** Results that have arrived, in order, without waiting. */
  take(): PolicyResult[] {
    return this.inner.take().map((result) => this.#resultOf(result));
  }

  /** Waits for the results of all queued steps. */
  async drain(): Promise<PolicyResult[]> {
    return (await this.inner.drain()).map((result) => this.#resultOf(result));
  }

  #resultOf({ sums, ...result }: LengthResult<StepTag>): PolicyResult {
    const [approxKl, clipShare, ratio, entropy] = sums.slice(1) as [number, number, number, number];
    const coef = this.#mix?.options.coef;
    return {
      ...result,
      approxKl,
      clipShare,
      ratio,
      entropy,
      ptxLoss: coef && sums[PTX_LOSS]! / coef,
      ptxNormRatio: coef && Math.sqrt(sums[PTX_NORM2]! / sums[PPO_NORM2]!),
    };
  }

  /** Gives everything back but the weights. */
  destroy(): void {
    this.inner.destroy();
    this.#state.destroy();
    this.#clip.destroy();
    if (!this.#mix) return;
    const { plan, mark, difference, scratch, state } = this.#mix;
    for (const owned of [plan, mark, difference, scratch, state]) owned.destroy();
  }
}

async function makeMix(
  { device, weights, pool, sums }: LengthStep<LearntBatch, StepTag>,
  options: PtxOptions,
): Promise<Mix> {
  const grads = weights.grads!;
  const state = lossState(device, "ptx");
  const shape = { R: options.rows, T: options.T };
  const parts = { device, weights, pool, loss: sums[PTX_LOSS]!, dropout: undefined };
  const plan = await responsePlan(shape, parts, state);
  const scratch = new Arena(device, "PPO gradient", grads.layout);
  const mark = new Plan(device, { label: "norm of PPO" });
  const difference = new Plan(device, { label: "norm of ptx" });
  sum(mark, grads.buffers, { squares: true, into: sums[PPO_NORM2]! });
  blend(mark, scratch.buffers, grads.buffers, { keep: 0, take: 1 });
  blend(difference, scratch.buffers, grads.buffers, { keep: -1, take: 1 });
  sum(difference, scratch.buffers, { squares: true, into: sums[PTX_NORM2]! });
  await mark.seal(pool);
  await difference.seal(pool);
  return { options, state, plan, mark, difference, scratch };
}

async function policyPlan(
  { R, T }: { R: number; T: number },
  { device, weights, pool, sums }: LengthParts,
  { state, clip }: { state: LossState; clip: PpoState },
): Promise<LengthPlan<LearntBatch>> {
  const inputs = new EpisodeInputs(device, { R, T });
  const targets = device.tensor("targets", [R * T], "u32");
  const mask = device.tensor("mask", [R * T]);
  const plan = new Plan(device, { label: `policy ${T} tokens`, training: true });
  const destroy = () => {
    for (const owned of [plan, inputs, targets, mask]) owned.destroy();
  };
  try {
    const { ids, lengths, buckets, tokens } = inputs;
    const hidden = decoder(plan, weights, { ids, lengths, buckets });
    const V = weights.config.vocabSize;
    const wte = weights.sharded(embeddingNames(weights.config).wte);
    const { loss, outputs } = policyLoss(plan, R * T, { targets, tokens, mask, state, clip, V });
    lmHeadChunks(plan, hidden, { wte }, { V, loss });
    const { losses, kl, clipped, ratios, entropies } = outputs;
    [losses, kl, clipped, ratios, entropies].forEach((part, i) =>
      meanLoss(plan, part, state, { into: sums[i]! })
    );
    plan.backward();
    await plan.seal(pool);
  } catch (error) {
    destroy();
    throw error;
  }
  const write = (batch: LearntBatch) => {
    inputs.write(batch, batch.policyTokens);
    device.write(targets, batch.targets);
    device.write(mask, batch.mask);
  };
  return { plan, write, destroy };
}

/**
 * The update of a value model: what the rest of an episode will be worth, at each of its tokens.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { decoder } from "../model/decoder.ts";
import { SCORE } from "../model/heads.ts";
import type { Weights } from "../model/parameters.ts";
import { type LossState, lossState } from "../ops/cross_entropy.ts";
import { type PpoState, ppoState, valueLoss } from "../ops/ppo.ts";
import { meanLoss } from "../ops/reduce.ts";
import { score } from "../ops/score.ts";
import {
  type LengthParts,
  type LengthPlan,
  type LengthResult,
  LengthStep,
  type StepTag,
} from "./length_step.ts";
import type { LearntBatch } from "./ppo_batches.ts";
import { EpisodeInputs, type PpoStepOptions } from "./ppo_inputs.ts";

/** What an update of the value model did. */
export interface ValueResult extends Omit<LengthResult<StepTag>, "sums"> {
  /** Share of tokens that were clipped. */
  readonly clipShare: number;
}

/** Buffers and plans that train a value model; a plan a padded length. */
export class ValueStep {
  /** Moments, and what a checkpoint has. */
  readonly inner: LengthStep<LearntBatch, StepTag>;
  readonly #state: LossState;
  readonly #clip: PpoState;

  private constructor(
    inner: LengthStep<LearntBatch, StepTag>,
    states: { state: LossState; clip: PpoState },
  ) {
    this.inner = inner;
    this.#state = states.state;
    this.#clip = states.clip;
  }

  /** Makes moments of zero. @throws {RangeError} When the weights are frozen or have no score. */
  static async create(
    device: Device,
    weights: Weights,
    { rows, settings, clipRange, turns }: PpoStepOptions,
  ): Promise<ValueStep> {
    const states = { state: lossState(device), clip: ppoState(device, clipRange) };
    const inner = await LengthStep.create<LearntBatch, StepTag>(device, weights, {
      settings,
      dropout: 0,
      seed: 0,
      sums: ["value", "clipped"],
      turns,
      record: (T, parts) => valuePlan({ R: rows, T }, parts, states),
    });
    return new ValueStep(inner, states);
  }

  /** As {@linkcode LengthStep.run}, of batches of one length. */
  async run(step: number, batches: readonly LearntBatch[], lr: number): Promise<void> {
    const total = (key: "responseTokens" | "tokens") =>
      batches.reduce((all, batch) => all + batch[key], 0);
    this.#state.set({ scale: 1 / total("responseTokens") });
    await this.inner.run({ step, lr, tokens: total("tokens") }, batches);
  }

  /** Results that have arrived, in order, without waiting. */
  take(): ValueResult[] {
    return this.inner.take().map(valueResult);
  }

  /** Waits for the results of all queued steps. */
  async drain(): Promise<ValueResult[]> {
    return (await this.inner.drain()).map(valueResult);
  }

  /** Gives everything back but the weights. */
  destroy(): void {
    this.inner.destroy();
    this.#state.destroy();
    this.#clip.destroy();
  }
}

function valueResult({ sums, ...result }: LengthResult<StepTag>): ValueResult {
  return { ...result, clipShare: sums[1]! };
}

async function valuePlan(
  { R, T }: { R: number; T: number },
  { device, weights, pool, sums }: LengthParts,
  { state, clip }: { state: LossState; clip: PpoState },
): Promise<LengthPlan<LearntBatch>> {
  const inputs = new EpisodeInputs(device, { R, T });
  const plan = new Plan(device, { label: `value ${T} tokens`, training: true });
  const destroy = () => {
    plan.destroy();
    inputs.destroy();
  };
  try {
    const { ids, lengths, buckets, tokens } = inputs;
    const hidden = decoder(plan, weights, { ids, lengths, buckets });
    const values = score(plan, hidden, weights.parameter(SCORE));
    const { losses, clipped } = valueLoss(plan, values, { tokens, state, clip });
    [losses, clipped].forEach((part, i) => meanLoss(plan, part, state, { into: sums[i]! }));
    plan.backward();
    await plan.seal(pool);
  } catch (error) {
    destroy();
    throw error;
  }
  return { plan, write: (batch) => inputs.write(batch, batch.valueTokens), destroy };
}

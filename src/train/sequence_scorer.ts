/**
 * Log-probabilities of whole responses, without a gradient.
 *
 * @module
 */
import { paddedLength } from "../data/task_batches.ts";
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import type { ActivationPool } from "../gpu/pool.ts";
import { Recent } from "../gpu/recent.ts";
import { ReadbackRing } from "../gpu/ring.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { decoder } from "../model/decoder.ts";
import { embeddingNames, type Weights } from "../model/parameters.ts";
import { type LossState, lossState } from "../ops/cross_entropy.ts";
import { type DpoState, dpoState, sequenceScores } from "../ops/dpo.ts";
import { lmHeadLoss } from "../ops/lm_head.ts";
import { placeSequence } from "./dpo_batches.ts";
import { MOST_PLANS } from "./length_step.ts";

/** A response after its prompt. */
export interface SequenceRow {
  /** Prompt and response. */
  readonly ids: Uint32Array;
  /** Tokens before the response, from 1. */
  readonly promptTokens: number;
}

interface SequencePlan {
  readonly plan: Plan;
  readonly logps: Tensor;
  readonly inputs: Record<"ids" | "lengths" | "targets" | "mask" | "reference", Tensor>;
  destroy(): void;
}

/** Plans that score rows with one decoder, a plan a padded length. */
export class SequenceScorer {
  readonly #device: Device;
  readonly #weights: Weights;
  readonly #rows: number;
  readonly #pool: ActivationPool;
  readonly #states: { unit: LossState; dpo: DpoState };
  readonly #ring: ReadbackRing<readonly number[]>;
  readonly #plans = new Recent<SequencePlan>(MOST_PLANS);

  /**
   * Makes the readback; plans are recorded as rows need them.
   *
   * @param rows of a batch
   * @param pool of activations; plans that run at the same time must not share it
   */
  constructor(device: Device, weights: Weights, rows: number, pool: ActivationPool) {
    this.#device = device;
    this.#weights = weights;
    this.#rows = rows;
    this.#pool = pool;
    this.#states = { unit: lossState(device), dpo: dpoState(device, 1) };
    this.#ring = new ReadbackRing(device, { slots: 8, slotBytes: 4 * rows });
  }

  /** The log-probability of each row's response, in their order; those of like length together. */
  async run(rows: readonly SequenceRow[]): Promise<Float32Array> {
    const logps = new Float32Array(rows.length);
    const keep = (
      { tag, values }: { tag: readonly number[]; values: ArrayLike<number>[] },
    ) => tag.forEach((place, r) => logps[place] = values[0]![r]!);
    const order = rows.map((_, i) => i)
      .sort((a, b) => rows[a]!.ids.length - rows[b]!.ids.length || a - b);
    for (let start = 0; start < order.length; start += this.#rows) {
      if (this.#ring.full) keep((await this.#ring.next())!);
      await this.#queue(rows, order.slice(start, start + this.#rows));
    }
    for (const result of await this.#ring.drain()) keep(result);
    return logps;
  }

  async #queue(rows: readonly SequenceRow[], places: readonly number[]): Promise<void> {
    const device = this.#device;
    const T = paddedLength(rows[places.at(-1)!]!.ids.length, this.#weights.config.contextLength);
    const R = this.#rows;
    const { plan, logps, inputs } = await this.#plans.get(T, () => this.#record(T));
    const ids = new Uint32Array(R * T);
    const lengths = new Uint32Array(R).fill(1);
    const sequences = { targets: new Uint32Array(R * T), mask: new Float32Array(R * T) };
    places.forEach((place, row) => {
      const { ids: own, promptTokens } = rows[place]!;
      ids.set(own, row * T);
      lengths[row] = own.length;
      placeSequence(sequences, own, { row, T, promptTokens });
    });
    device.write(inputs.ids, ids);
    device.write(inputs.lengths, lengths);
    device.write(inputs.targets, sequences.targets);
    device.write(inputs.mask, sequences.mask);
    const encoder = device.gpu.createCommandEncoder();
    plan.encode(encoder);
    this.#ring.record(encoder, [logps], places);
    device.gpu.queue.submit([encoder.finish()]);
    this.#ring.submitted();
  }

  async #record(T: number): Promise<SequencePlan> {
    const device = this.#device;
    const weights = this.#weights;
    const R = this.#rows;
    const inputs = {
      ids: device.tensor("ids", [R, T], "u32"),
      lengths: device.tensor("lengths", [R], "u32"),
      targets: device.tensor("targets", [R * T], "u32"),
      mask: device.tensor("mask", [R * T]),
      reference: device.upload("reference", [R], new Float32Array(R)),
    };
    const plan = new Plan(device, { label: `log-probabilities of ${T} tokens` });
    const destroy = () => {
      plan.destroy();
      for (const tensor of Object.values(inputs)) tensor.destroy();
    };
    try {
      const { ids, lengths, targets, mask, reference } = inputs;
      const hidden = decoder(plan, weights, { ids, lengths });
      const { unit, dpo } = this.#states;
      const wte = weights.sharded(embeddingNames(weights.config).wte);
      const V = weights.config.vocabSize;
      const { losses } = lmHeadLoss(plan, hidden, { wte }, { targets, mask, state: unit, V });
      const logps = plan.keep(sequenceScores(plan, losses, { reference, state: dpo }).logps);
      await plan.seal(this.#pool);
      return { plan, logps, inputs, destroy };
    } catch (error) {
      destroy();
      throw error;
    }
  }

  /** Gives everything back but weights and pool. */
  destroy(): void {
    this.#plans.destroy();
    this.#ring.destroy();
    this.#states.unit.destroy();
    this.#states.dpo.destroy();
  }
}

/**
 * Evaluation: the mean loss over a split, on a plan without a backward.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import type { ActivationPool } from "../gpu/pool.ts";
import { ReadbackRing } from "../gpu/ring.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { PartedReplay, type Turns } from "../gpu/turns.ts";
import { decoder } from "../model/decoder.ts";
import { embeddingNames, type Weights } from "../model/parameters.ts";
import { type LossState, lossState } from "../ops/cross_entropy.ts";
import { lmHeadLoss } from "../ops/lm_head.ts";
import { sum } from "../ops/reduce.ts";

/** A batch of which every position has a weight. */
export interface EvaluationBatch {
  /** (B, T) */
  readonly inputs: Uint32Array;
  /** (B, T) */
  readonly targets: Uint32Array;
  /** (B, T): 1 where the target counts, else 0. */
  readonly mask: Float32Array;
  /** Positions that count. */
  readonly unmaskedCount: number;
}

/** Mean loss over unmasked tokens, and how many they were. */
export interface Evaluation {
  /** In nats a token. */
  readonly loss: number;
  /** Unmasked tokens of all batches. */
  readonly tokens: number;
}

/** Buffers and a plan that evaluate one decoder on batches of one shape. */
export class Evaluator {
  readonly #device: Device;
  readonly #plan: Plan;
  readonly #inputs: { ids: Tensor; targets: Tensor; mask: Tensor };
  readonly #state: LossState;
  readonly #total: Tensor;
  readonly #ring: ReadbackRing<number>;
  readonly #replay: PartedReplay;

  private constructor(
    device: Device,
    weights: Weights,
    { B, T }: { B: number; T: number },
    turns: Turns | undefined,
  ) {
    this.#device = device;
    this.#inputs = {
      ids: device.tensor("ids", [B, T], "u32"),
      targets: device.tensor("targets", [B * T], "u32"),
      mask: device.tensor("mask", [B * T]),
    };
    this.#state = lossState(device);
    this.#ring = new ReadbackRing(device, { slots: 16, slotBytes: 16 });
    this.#replay = new PartedReplay(device, turns);
    this.#plan = new Plan(device, { label: "evaluate" });
    const { ids, targets, mask } = this.#inputs;
    const hidden = decoder(this.#plan, weights, { ids });
    const { losses } = lmHeadLoss(this.#plan, hidden, {
      wte: weights.sharded(embeddingNames(weights.config).wte),
    }, { targets, mask, state: this.#state, V: weights.config.vocabSize });
    this.#total = this.#plan.keep(sum(this.#plan, losses));
  }

  /** Records the plan for batches of (B, T). */
  static async create(
    device: Device,
    weights: Weights,
    shape: { B: number; T: number },
    { pool, turns }: { pool: ActivationPool; turns?: Turns | undefined },
  ): Promise<Evaluator> {
    const evaluator = new Evaluator(device, weights, shape, turns);
    await evaluator.#plan.seal(pool);
    return evaluator;
  }

  /** The mean loss over all batches; the sum over batches is in f64. */
  async run(batches: Iterable<EvaluationBatch>): Promise<Evaluation> {
    let total = 0;
    let tokens = 0;
    for (const { inputs, targets, mask, unmaskedCount } of batches) {
      if (this.#ring.full) total += (await this.#ring.next())!.values[0]![0]!;
      this.#device.write(this.#inputs.ids, inputs);
      this.#device.write(this.#inputs.targets, targets);
      this.#device.write(this.#inputs.mask, mask);
      await this.#replay.run(
        [this.#plan],
        (encoder) => this.#ring.record(encoder, [this.#total], tokens),
      );
      this.#ring.submitted();
      tokens += unmaskedCount;
    }
    for (const { values } of await this.#ring.drain()) total += values[0]![0]!;
    return { loss: total / tokens, tokens };
  }

  /** Gives everything back but the weights. */
  destroy(): void {
    this.#plan.destroy();
    this.#ring.destroy();
    this.#state.destroy();
    for (const tensor of Object.values(this.#inputs)) tensor.destroy();
  }
}

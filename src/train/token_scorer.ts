/**
 * A number for each token of responses, without a gradient: log-probabilities under a frozen
 * reference, or what a value model expects.
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
import { PartedReplay, type Turns } from "../gpu/turns.ts";
import { decoder } from "../model/decoder.ts";
import { SCORE } from "../model/heads.ts";
import { embeddingNames, type Weights } from "../model/parameters.ts";
import { type LossState, lossState } from "../ops/cross_entropy.ts";
import { lmHeadLoss } from "../ops/lm_head.ts";
import { score } from "../ops/score.ts";
import { MOST_PLANS } from "./length_step.ts";
import { episodeBatch, type EpisodeRow, responseParts } from "./ppo_batches.ts";

/** What is told of a token. */
export type TokenScore = "log-probability" | "value";

/** The forward of one padded length. */
interface ScorePlan {
  readonly plan: Plan;
  /** (R T) */
  readonly scores: Tensor;
  readonly inputs: Record<"ids" | "lengths" | "targets" | "mask", Tensor>;
  destroy(): void;
}

/** Plans that score rows with one model, a plan a padded length. */
export class TokenScorer {
  readonly #device: Device;
  readonly #weights: Weights;
  readonly #kind: TokenScore;
  readonly #rows: number;
  readonly #pool: ActivationPool;
  readonly #state: LossState;
  readonly #ring: ReadbackRing<{ places: readonly number[]; T: number }>;
  readonly #plans = new Recent<ScorePlan>(MOST_PLANS);
  readonly #replay: PartedReplay;

  /**
   * Makes the readback; plans are recorded as rows need them.
   *
   * @param rows of a batch
   * @param pool of activations; plans that run at the same time must not share it
   */
  constructor(
    device: Device,
    weights: Weights,
    { kind, rows, turns }: { kind: TokenScore; rows: number; turns?: Turns | undefined },
    pool: ActivationPool,
  ) {
    this.#device = device;
    this.#weights = weights;
    this.#kind = kind;
    this.#rows = rows;
    this.#pool = pool;
    this.#state = lossState(device);
    const slotBytes = 4 * rows * weights.config.contextLength;
    this.#ring = new ReadbackRing(device, { slots: 4, slotBytes });
    this.#replay = new PartedReplay(device, turns);
  }

  /**
   * Numbers of each row's response, in the order of the rows; those of like length run together.
   * Yields after each batch how many rows are done.
   *
   * @throws {RangeError} When a row is longer than the context.
   */
  async *run(rows: readonly EpisodeRow[]): AsyncGenerator<number, Float64Array[]> {
    const order = rows.map((_, i) => i)
      .sort((a, b) => rows[a]!.ids.length - rows[b]!.ids.length || a - b);
    const scores: Float64Array[] = new Array(rows.length);
    let done = 0;
    const keep = (
      { tag, values }: {
        tag: { places: readonly number[]; T: number };
        values: ArrayLike<number>[];
      },
    ) => {
      const { places, T } = tag;
      responseParts(places.map((i) => rows[i]!), values[0]!, T).forEach((part, r) => {
        // Cross-entropy says how unlikely a token is.
        scores[places[r]!] = this.#kind === "value" ? part : part.map((nll) => -nll);
      });
      return done += places.length;
    };
    for (let start = 0; start < order.length; start += this.#rows) {
      if (this.#ring.full) yield keep((await this.#ring.next())!);
      await this.#queue(rows, order.slice(start, start + this.#rows));
    }
    for (let next = await this.#ring.next(); next; next = await this.#ring.next()) {
      yield keep(next);
    }
    return scores;
  }

  async #queue(rows: readonly EpisodeRow[], places: readonly number[]): Promise<void> {
    const device = this.#device;
    const longest = rows[places.at(-1)!]!.ids.length;
    const T = paddedLength(longest, this.#weights.config.contextLength);
    const batch = episodeBatch(places.map((i) => rows[i]!), { R: this.#rows, T });
    const { plan, scores, inputs } = await this.#plans.get(T, () => this.#record(T));
    device.write(inputs.ids, batch.ids);
    device.write(inputs.lengths, batch.lengths);
    device.write(inputs.targets, batch.targets);
    device.write(inputs.mask, batch.mask);
    await this.#replay.run(
      [plan],
      (encoder) => this.#ring.record(encoder, [scores], { places, T }),
    );
    this.#ring.submitted();
  }

  async #record(T: number): Promise<ScorePlan> {
    const device = this.#device;
    const weights = this.#weights;
    const R = this.#rows;
    const inputs = {
      ids: device.tensor("ids", [R, T], "u32"),
      lengths: device.tensor("lengths", [R], "u32"),
      targets: device.tensor("targets", [R * T], "u32"),
      mask: device.tensor("mask", [R * T]),
    };
    const plan = new Plan(device, { label: `${this.#kind} of ${T} tokens` });
    const destroy = () => {
      plan.destroy();
      for (const tensor of Object.values(inputs)) tensor.destroy();
    };
    try {
      const { ids, lengths, targets, mask } = inputs;
      const hidden = decoder(plan, weights, { ids, lengths });
      const scores = this.#kind === "value"
        ? score(plan, hidden, weights.parameter(SCORE))
        : lmHeadLoss(plan, hidden, {
          wte: weights.sharded(embeddingNames(weights.config).wte),
        }, { targets, mask, state: this.#state, V: weights.config.vocabSize }).losses;
      plan.keep(scores);
      await plan.seal(this.#pool);
      return { plan, scores, inputs, destroy };
    } catch (error) {
      destroy();
      throw error;
    }
  }

  /** Gives everything back but weights and pool. */
  destroy(): void {
    this.#plans.destroy();
    this.#ring.destroy();
    this.#state.destroy();
  }
}

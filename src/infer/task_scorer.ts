/**
 * Scores of examples with a fine-tuned decoder, batch by batch, without a gradient.
 *
 * @module
 */
import type { TaskBatch } from "../data/task_batches.ts";
import { copiesOf, type TaskKind } from "../data/task_kind.ts";
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import type { ActivationPool } from "../gpu/pool.ts";
import { Recent } from "../gpu/recent.ts";
import { ReadbackRing } from "../gpu/ring.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { PartedReplay, type Turns } from "../gpu/turns.ts";
import { decoder } from "../model/decoder.ts";
import { extractRows, extractSizes, taskScores, type TaskShape } from "../model/heads.ts";
import type { Weights } from "../model/parameters.ts";

/** Plans of different lengths that are kept. */
const MOST_PLANS = 8;

/** Plans that score batches of E examples, one a padded length. */
export class TaskScorer {
  readonly #device: Device;
  readonly #weights: Weights;
  readonly #shape: TaskShape;
  readonly #pool: ActivationPool;
  readonly #ring: ReadbackRing<{ batch: TaskBatch }>;
  readonly #plans = new Recent<ScorePlan>(MOST_PLANS);
  readonly #replay: PartedReplay;

  /**
   * Makes the readback; plans are recorded as batches need them.
   *
   * @param pool of activations; plans that run at the same time must not share it
   * @param turns when parts of a batch may be submitted; at once without it
   */
  constructor(
    device: Device,
    weights: Weights,
    shape: TaskShape,
    pool: ActivationPool,
    turns?: Turns,
  ) {
    this.#device = device;
    this.#weights = weights;
    this.#shape = shape;
    this.#pool = pool;
    const slotBytes = 4 * shape.examples * shape.classes;
    this.#ring = new ReadbackRing(device, { slots: 8, slotBytes });
    this.#replay = new PartedReplay(device, turns);
  }

  /**
   * The logits of each batch, in order: (count, K), example after example.
   *
   * @throws {RangeError} When a batch is not of the scorer's shape.
   */
  async *run(batches: Iterable<TaskBatch>): AsyncGenerator<Float32Array, void> {
    for (const batch of batches) {
      if (this.#ring.full) yield this.#take((await this.#ring.next())!);
      const plan = await this.#plans.get(
        batch.T,
        () => ScorePlan.create(this.#device, this.#weights, this.#shape, batch.T, this.#pool),
      );
      plan.write(batch);
      await this.#replay.run(
        [plan.plan],
        (encoder) => this.#ring.record(encoder, [plan.logits], { batch }),
      );
      this.#ring.submitted();
    }
    for (let next = await this.#ring.next(); next; next = await this.#ring.next()) {
      yield this.#take(next);
    }
  }

  #take({ tag, values }: { tag: { batch: TaskBatch }; values: ArrayLike<number>[] }): Float32Array {
    const { task, classes: K, examples: E } = this.#shape;
    const logits = values[0]!;
    // Choices come choice after choice, (K, E).
    return Float32Array.from({ length: tag.batch.count * K }, (_, i) => {
      const [e, k] = [Math.floor(i / K), i % K];
      return logits[task === "choice" ? k * E + e : i]!;
    });
  }

  /** Gives everything back but weights and pool. */
  destroy(): void {
    this.#plans.destroy();
    this.#ring.destroy();
  }
}

/** The forward of one padded length. */
class ScorePlan {
  readonly plan: Plan;
  readonly #device: Device;
  readonly #shape: TaskShape;
  readonly #T: number;
  readonly #ids: Tensor;
  readonly #lengths: Tensor;
  readonly #rows: Tensor[];
  logits!: Tensor;

  private constructor(device: Device, shape: TaskShape, T: number) {
    this.#device = device;
    this.#shape = shape;
    this.#T = T;
    const R = shape.examples * copiesOf(shape);
    this.#ids = device.tensor("ids", [R, T], "u32");
    this.#lengths = device.tensor("lengths", [R], "u32");
    this.#rows = extractSizes(shape).map((size) => device.tensor("extract rows", [size], "u32"));
    this.plan = new Plan(device, { label: `score ${T} tokens` });
  }

  static async create(
    device: Device,
    weights: Weights,
    shape: TaskShape,
    T: number,
    pool: ActivationPool,
  ): Promise<ScorePlan> {
    const made = new ScorePlan(device, shape, T);
    const { plan } = made;
    try {
      const hidden = decoder(plan, weights, { ids: made.#ids, lengths: made.#lengths });
      const extract = made.#rows.map((rows) => ({ rows }));
      made.logits = plan.keep(taskScores(plan, weights, hidden, { shape, extract }));
      await plan.seal(pool);
    } catch (error) {
      made.destroy();
      throw error;
    }
    return made;
  }

  write({ ids, lengths }: TaskBatch): void {
    this.#device.write(this.#ids, ids);
    this.#device.write(this.#lengths, lengths);
    extractRows(this.#shape, this.#T, lengths).forEach((rows, i) =>
      this.#device.write(this.#rows[i]!, rows)
    );
  }

  destroy(): void {
    this.plan.destroy();
    for (const tensor of [this.#ids, this.#lengths, ...this.#rows]) tensor.destroy();
  }
}

/** Shares of each class, (N, K), from logits. */
export function softmaxRows(logits: Float32Array, K: number): Float32Array {
  const shares = new Float32Array(logits.length);
  for (let row = 0; row < logits.length; row += K) {
    const part = logits.subarray(row, row + K);
    const top = Math.max(...part);
    const exps = Array.from(part, (logit) => Math.exp(logit - top));
    const sum = exps.reduce((a, b) => a + b, 0);
    exps.forEach((value, k) => shares[row + k] = value / sum);
  }
  return shares;
}

/**
 * What shares of classes say: the likeliest class or choice, or the expected score.
 *
 * @param shares (K)
 * @param scores lowest and highest score, where labels are scores
 */
export function predictionOf(
  shares: ArrayLike<number>,
  task: TaskKind,
  scores?: readonly [number, number],
): number {
  const all = Array.from(shares);
  if (task === "similarity" && scores) {
    return all.reduce((sum, share, k) => sum + share * (scores[0] + k), 0);
  }
  return all.indexOf(Math.max(...all));
}

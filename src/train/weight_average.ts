/**
 * An exponential moving average of weights, beside those that are trained.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { PartedReplay, type Turns } from "../gpu/turns.ts";
import { Weights } from "../model/parameters.ts";
import { blend } from "../ops/blend.ts";

/** Averages on the GPU. */
export class WeightAverage {
  /** The averages, frozen; of the same table. */
  readonly weights: Weights;
  readonly #replay: PartedReplay;
  readonly #update: Plan;
  readonly #copy: Plan;

  private constructor(device: Device, weights: Weights, turns: Turns | undefined) {
    this.#replay = new PartedReplay(device, turns);
    this.weights = weights;
    this.#update = new Plan(device, { label: "average weights" });
    this.#copy = new Plan(device, { label: "copy weights" });
  }

  /**
   * Makes averages of a decoder without heads; they are zero until they are loaded or begun.
   *
   * @param options `rate`: how much of an average stays at an update, 0 is the newest weights;
   * `turns`: when parts of an update may be submitted, at once without it
   */
  static async create(
    device: Device,
    from: Weights,
    { rate, turns }: { rate: number; turns?: Turns | undefined },
  ): Promise<WeightAverage> {
    const weights = new Weights(device, from.config, { trainable: false });
    const average = new WeightAverage(device, weights, turns);
    const [outs, inps] = [weights.values.buffers, from.values.buffers];
    try {
      blend(average.#update, outs, inps, { keep: rate, take: 1 - rate });
      blend(average.#copy, outs, inps, { keep: 0, take: 1 });
      await average.#update.seal();
      await average.#copy.seal();
    } catch (error) {
      average.destroy();
      throw error;
    }
    return average;
  }

  /** Begins with the weights as they are. */
  begin(): void {
    this.#copy.replay();
  }

  /** Queues the next average. */
  async update(): Promise<void> {
    await this.#replay.run([this.#update]);
  }

  /** Gives everything back. */
  destroy(): void {
    this.#update.destroy();
    this.#copy.destroy();
    this.weights.destroy();
  }
}

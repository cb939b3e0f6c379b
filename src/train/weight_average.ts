/**
 * An exponential moving average of weights, beside those that are trained.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { Weights } from "../model/parameters.ts";
import { blend } from "../ops/blend.ts";

/** Averages on the GPU. */
export class WeightAverage {
  /** The averages, frozen; of the same table. */
  readonly weights: Weights;
  readonly #device: Device;
  readonly #update: Plan;
  readonly #copy: Plan;

  private constructor(device: Device, weights: Weights) {
    this.#device = device;
    this.weights = weights;
    this.#update = new Plan(device, { label: "average weights" });
    this.#copy = new Plan(device, { label: "copy weights" });
  }

  /**
   * Makes averages of a decoder without heads; they are zero until they are loaded or begun.
   *
   * @param rate how much of an average stays at an update; 0 is the newest weights
   */
  static async create(device: Device, from: Weights, rate: number): Promise<WeightAverage> {
    const weights = new Weights(device, from.config, { trainable: false });
    const average = new WeightAverage(device, weights);
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
    this.#submit(this.#copy);
  }

  /** Queues the next average. */
  update(): void {
    this.#submit(this.#update);
  }

  #submit(plan: Plan): void {
    const encoder = this.#device.gpu.createCommandEncoder();
    plan.encode(encoder);
    this.#device.gpu.queue.submit([encoder.finish()]);
  }

  /** Gives everything back. */
  destroy(): void {
    this.#update.destroy();
    this.#copy.destroy();
    this.weights.destroy();
  }
}

/**
 * The decoder's forward over whole texts, without a cache: what cached decoding is held against.
 *
 * @module
 */
import type { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import type { Tensor } from "../../src/gpu/tensor.ts";
import { decoder } from "../../src/model/decoder.ts";
import { embeddingNames, type Weights } from "../../src/model/parameters.ts";
import { lmHeadLogits } from "../../src/ops/lm_head.ts";

/** The forward of texts of up to a whole context. */
export class FullForward {
  readonly #device: Device;
  readonly #weights: Weights;
  readonly #plan: Plan;
  readonly #ids: Tensor;
  readonly #logits: Tensor;

  private constructor(device: Device, weights: Weights) {
    const { config } = weights;
    this.#device = device;
    this.#weights = weights;
    this.#ids = device.tensor("ids", [1, config.contextLength], "u32");
    this.#plan = new Plan(device, { label: "full" });
    const wte = weights.sharded(embeddingNames(config).wte);
    const hidden = decoder(this.#plan, weights, { ids: this.#ids });
    const V = config.vocabSize;
    this.#logits = this.#plan.keep(lmHeadLogits(this.#plan, hidden, { wte }, { V }));
  }

  static async create(device: Device, weights: Weights): Promise<FullForward> {
    const full = new FullForward(device, weights);
    await full.#plan.seal();
    return full;
  }

  /** Logits (V) at each position of a text; what comes after it is not seen. */
  async logits(text: ArrayLike<number>): Promise<Float32Array[]> {
    const { contextLength, vocabSize: V } = this.#weights.config;
    const ids = new Uint32Array(contextLength);
    ids.set(Array.from(text));
    this.#device.write(this.#ids, ids);
    this.#plan.replay();
    const all = await this.#device.read(this.#logits);
    const ld = this.#logits.shape.at(-1)!;
    return Array.from(text, (_, t) => all.subarray(t * ld, t * ld + V));
  }

  /** Log-probabilities (V) of the token after each position. */
  async logProbabilities(text: ArrayLike<number>): Promise<Float64Array[]> {
    return (await this.logits(text)).map(logSoftmax);
  }

  /** The likeliest tokens after a prompt, chosen one by one. */
  async greedy(prompt: readonly number[], count: number): Promise<number[]> {
    const text = [...prompt];
    for (let i = 0; i < count; i++) {
      const logits = (await this.logits(text)).at(-1)!;
      text.push(logits.indexOf(Math.max(...logits)));
    }
    return text.slice(prompt.length);
  }

  destroy(): void {
    this.#plan.destroy();
    this.#ids.destroy();
  }
}

/** log(softmax(logits)), in f64. */
export function logSoftmax(logits: ArrayLike<number>): Float64Array {
  const values = Float64Array.from(logits);
  const top = Math.max(...values);
  const sum = values.reduce((all, value) => all + Math.exp(value - top), 0);
  return values.map((value) => value - top - Math.log(sum));
}

/**
 * Goldens of the steps that make a model follow instructions.
 *
 * @module
 */
import { assert } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import type { ParameterSpec } from "../../src/model/parameters.ts";
import { Weights } from "../../src/model/parameters.ts";
import type { EncodedDialogue } from "../../src/prompt/dialogue.ts";
import { parseSafetensors as parseFile } from "../../src/run/safetensors.ts";
import { assertClose } from "./close.ts";
import { parseSafetensors } from "./safetensors.ts";

/** Of an update of PPO, by the names of its configuration. */
export type PpoGoldenSettings = Record<
  | "klCoef"
  | "discount"
  | "gaeLambda"
  | "clipRange"
  | "valueClipRange"
  | "ptxCoef"
  | "lr",
  number
>;

/** What tests/golden/make_sft.py, make_reward.py or make_ppo.py wrote. */
export class Golden {
  /** Of the metadata. */
  readonly about: {
    model: ModelConfig;
    live: number;
    E: number;
    K: number;
    beta?: number;
    settings?: PpoGoldenSettings;
  };
  readonly #tensors: ReturnType<typeof parseSafetensors>;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#tensors = parseSafetensors(bytes);
    this.about = JSON.parse(parseFile(bytes).metadata.about!);
  }

  /** Elements of a tensor. */
  of(name: string): Float64Array {
    const tensor = this.#tensors.get(name);
    assert(tensor !== undefined, `no golden named ${name}`);
    return tensor.data;
  }

  shape(name: string): readonly number[] {
    return this.#tensors.get(name)!.shape;
  }

  /** The weights before the step, on the GPU. */
  weights(
    device: Device,
    options: { trainable: boolean; heads?: ParameterSpec[] },
    prefix = "",
  ): Weights {
    const weights = new Weights(device, this.about.model, options);
    for (const { name } of weights.table) {
      weights.write(device, name, Float32Array.from(this.of(prefix + name)));
    }
    return weights;
  }

  /** Within {@linkcode gradientBound}. */
  async assertGradients(device: Device, weights: Weights, prefix = ""): Promise<void> {
    const { channels: C } = weights.config;
    for (const { name } of weights.table) {
      const actual = await weights.read(device, name, weights.grads);
      const expected = this.of(`grad.${prefix}${name}`);
      const bound = gradientBound(name, expected, C);
      assertClose(actual, expected, { bound, label: `gradient of ${name}` });
    }
  }

  /**
   * What one update changed, against the learning rate, where a gradient is above its rounding
   * error: below, Adam makes a step of any size out of it.
   */
  async assertChanges(
    device: Device,
    weights: Weights,
    { lr, prefix = "" }: { lr: number; prefix?: string },
  ): Promise<void> {
    for (const { name } of weights.table) {
      const before = this.of(prefix + name);
      const expected = this.of(`after.${prefix}${name}`);
      const actual = (await weights.read(device, name)).map((value, i) => value - before[i]!);
      const grad = this.of(`grad.${prefix}${name}`);
      // Beside the step's own error, the weight is rounded to f32 before and after.
      const bound = expected.map((_, i) =>
        Math.abs(grad[i]!) > 1e-7 ? 2e-2 * lr + 2 ** -23 * Math.abs(before[i]!) : Infinity
      );
      assertClose(actual, expected, { bound, label: `change of ${name}` });
    }
  }
}

/** Within 1e-4 of a tensor's largest, and 1e-7; a bias of the keys has no gradient. */
export function gradientBound(
  name: string,
  expected: ArrayLike<number>,
  C: number,
): Float64Array {
  const all = Float64Array.from(expected);
  const largest = all.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
  const isKeyBias = (i: number) => name.endsWith("c_attn.bias") && Math.floor(i / C) === 1;
  return all.map((_, i) => isKeyBias(i) ? 1e-6 : 1e-4 * largest + 1e-7);
}

/** The live rows of tests/golden/make_sft.py. */
export function goldenDialogues(golden: Golden): EncodedDialogue[] {
  const [ids, own, lengths] = ["ids", "own", "lengths"].map((name) => golden.of(name));
  const [, T] = golden.shape("ids") as [number, number];
  return Array.from({ length: golden.about.live }, (_, r) => {
    const range = [r * T, r * T + lengths![r]!] as const;
    return {
      ids: Uint32Array.from(ids!.subarray(...range)),
      isResponse: Uint8Array.from(own!.subarray(...range)),
    };
  });
}

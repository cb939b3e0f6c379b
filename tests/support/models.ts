/**
 * Tiny decoders of every architecture with weights that make them decided: logits of order 1.
 *
 * @module
 */
import type { Device } from "../../src/gpu/device.ts";
import type { StorageType } from "../../src/gpu/storage.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { type ParameterSpec, Weights } from "../../src/model/parameters.ts";
import { normal } from "./random.ts";

const TINY: ModelConfig = {
  vocabSize: 67,
  contextLength: 150,
  layers: 3,
  heads: 2,
  channels: 32,
  norm: "pre",
  activation: "gelu",
  bias: true,
  band: 0,
  layerNormEps: 1e-5,
};

/** By name: GPT-1 (post-LN), GPT-2, GPT-3 (banded) and nanoGPT (no biases, exact GELU). */
export const TINY_MODELS: Readonly<Record<string, ModelConfig>> = {
  gpt1: { ...TINY, norm: "post" },
  gpt2: TINY,
  gpt3: { ...TINY, band: 9 },
  nanogpt: { ...TINY, bias: false, activation: "gelu_erf" },
};

/** Elements of a tensor: gains around 1, all else N(0, 0.2²). */
export function tinyTensor({ name, shape }: ParameterSpec, seed: number): Float32Array {
  const count = shape.reduce((product, dim) => product * dim, 1);
  const data = normal(seed, count, 0.2);
  const isGain = /ln_\w+\.weight$/.test(name);
  return isGain ? data.map((value) => 1 + value) : data;
}

/** Weights on the GPU. */
export function tinyWeights(
  device: Device,
  config: ModelConfig,
  dtype: StorageType = "f32",
): Weights {
  const weights = new Weights(device, config, { trainable: false, dtype });
  weights.table.forEach((spec, index) =>
    weights.write(device, spec.name, tinyTensor(spec, index + 1))
  );
  return weights;
}

/**
 * The tiny decoders that tests/golden/make_models.py ran in PyTorch, in float64.
 *
 * @module
 */
import { assert } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { Weights } from "../../src/model/parameters.ts";
import { parseSafetensors as parseFile } from "../../src/run/safetensors.ts";
import type { LearningRateSchedule } from "../../src/train/schedule.ts";
import type { OptimiserSettings } from "../../src/train/optimiser.ts";
import bytes from "../golden/models.safetensors" with { type: "bytes" };
import { assertClose } from "./close.ts";
import { parseSafetensors } from "./safetensors.ts";

const tensors = parseSafetensors(bytes);
const about = JSON.parse(parseFile(bytes).metadata.about!);

/** Configuration of each case. */
export const CASES: Record<string, ModelConfig> = about.cases;
/** AdamW's settings in every case. */
export const SETTINGS: OptimiserSettings = about.settings;
/** The learning rate's schedule in every case. */
export const SCHEDULE: LearningRateSchedule = about.schedule;

/** Elements of a golden, named `<case>.<tensor>`. */
export function golden(name: string): Float64Array {
  const tensor = tensors.get(name);
  assert(tensor !== undefined, `no golden named ${name}`);
  return tensor.data;
}

/** Batches of a case: its `tokens` are (batches, B, T + 1), its `mask` is (batches, B, T). */
export function goldenBatches(name: string): {
  B: number;
  T: number;
  batches: { ids: Uint32Array; targets: Uint32Array; mask: Float32Array }[];
} {
  const tokens = golden(`${name}.tokens`);
  const mask = golden(`${name}.mask`);
  const [count, B, T] = tensors.get(`${name}.mask`)!.shape as [number, number, number];
  const batches = Array.from({ length: count }, (_, batch) => {
    // Seek to tokens[batch, b, t + shift].
    const pick = (shift: number) =>
      Uint32Array.from({ length: B * T }, (_, i) => {
        const row = batch * B + Math.floor(i / T);
        return tokens[row * (T + 1) + i % T + shift]!;
      });
    const part = mask.subarray(batch * B * T, (batch + 1) * B * T);
    return { ids: pick(0), targets: pick(1), mask: Float32Array.from(part) };
  });
  return { B, T, batches };
}

/** A case's first weights, on the GPU. */
export function goldenWeights(
  device: Device,
  name: string,
  options: { trainable: boolean },
): Weights {
  const weights = new Weights(device, CASES[name]!, options);
  for (const spec of weights.table) {
    weights.write(device, spec.name, Float32Array.from(golden(`${name}.${spec.name}`)));
  }
  return weights;
}

/**
 * Asserts that every gradient is PyTorch's: within 1e-4 of a tensor's largest, and 1e-7. A bias of
 * the keys moves all scores of a query alike, so that its gradient is zero but for roundings: 1e-6.
 */
export async function assertGradients(
  device: Device,
  weights: Weights,
  name: string,
): Promise<void> {
  const { channels: C } = weights.config;
  for (const spec of weights.table) {
    const actual = await weights.read(device, spec.name, weights.grads);
    const expected = golden(`${name}.grad.${spec.name}`);
    const largest = expected.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
    const isKeyBias = (i: number) => spec.name.endsWith("c_attn.bias") && Math.floor(i / C) === 1;
    const bound = expected.map((_, i) => isKeyBias(i) ? 1e-6 : 1e-4 * largest + 1e-7);
    assertClose(actual, expected, { bound, label: `gradient of ${spec.name}` });
    await assertPaddingIsZero(device, weights, spec.name, weights.grads);
  }
}

/** Asserts that the rows past a tensor's last are zero, as they are when made. */
export async function assertPaddingIsZero(
  device: Device,
  weights: Weights,
  name: string,
  arena = weights.values,
): Promise<void> {
  const { shape } = weights.table.find((spec) => spec.name === name)!;
  let left = shape.reduce((product, dim) => product * dim, 1);
  for (const window of arena.windows(name)) {
    const padding = (await device.read(window)).subarray(Math.min(left, window.count));
    assertClose(padding, new Float32Array(padding.length), { label: `padding of ${name}` });
    left = Math.max(0, left - window.count);
  }
}

// Recomputation changes where activations are, never a number.
import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { Weights } from "../../src/model/parameters.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { TrainStep } from "../../src/train/step.ts";
import { gpuTest } from "../support/gpu.ts";
import { TINY_MODELS, tinyTensor } from "../support/models.ts";

const SHAPE = { B: 2, T: 48 };
const SETTINGS = { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1, clip: 1 };

/** What two micro-batches at step 3 leave: the loss, every gradient, the bytes of activations. */
async function gradientsOf(
  device: Device,
  name: string,
  options: { dropout: number; recompute: boolean },
): Promise<{ loss: number; gradients: Map<string, Float32Array>; activationBytes: number }> {
  const weights = new Weights(device, TINY_MODELS[name]!, { trainable: true });
  weights.table.forEach((spec, index) =>
    weights.write(device, spec.name, tinyTensor(spec, index + 1))
  );
  const settings = { ...SHAPE, settings: SETTINGS, seed: 5, ...options };
  const train = await TrainStep.create(device, weights, settings);
  const stream = new PhiloxStream(1);
  const ids = () =>
    Uint32Array.from({ length: SHAPE.B * SHAPE.T }, () => stream.integer(weights.config.vocabSize));
  await train.run(3, [{ ids: ids(), targets: ids() }, { ids: ids(), targets: ids() }], 0);
  const [result] = await train.drain();
  const gradients = new Map<string, Float32Array>();
  for (const { name } of weights.table) {
    gradients.set(name, await weights.read(device, name, weights.grads));
  }
  const { activationBytes } = train;
  train.destroy();
  weights.destroy();
  return { loss: result!.loss, gradients, activationBytes };
}

for (const name of Object.keys(TINY_MODELS)) {
  for (const dropout of [0, 0.1]) {
    gpuTest(
      `TrainStep recomputes ${name}'s activations to the same bits in less memory at dropout ` +
        `${dropout}`,
      async (device) => {
        const kept = await gradientsOf(device, name, { dropout, recompute: false });
        const again = await gradientsOf(device, name, { dropout, recompute: true });
        assertEquals(again.loss, kept.loss);
        for (const [tensor, gradient] of kept.gradients) {
          assert(gradient.some((value) => value !== 0), `${tensor} has a gradient`);
          assertEquals(again.gradients.get(tensor), gradient, tensor);
        }
        const share = again.activationBytes / kept.activationBytes;
        assert(share < 0.75, `${share} of the bytes`);
      },
    );
  }
}

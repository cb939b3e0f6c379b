// Training against PyTorch 2.13 in float64: tests/golden/make_models.py wrote the answers.
import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { embeddingNames, type Weights } from "../../src/model/parameters.ts";
import { learningRate } from "../../src/train/schedule.ts";
import { type Batch, type StepResult, TrainStep } from "../../src/train/step.ts";
import { assertClose } from "../support/close.ts";
import {
  assertGradients,
  assertPaddingIsZero,
  CASES,
  golden,
  goldenBatches,
  goldenWeights,
  SCHEDULE,
  SETTINGS,
} from "../support/golden_models.ts";
import { gpuTest } from "../support/gpu.ts";

/** Weights on which AdamW's answers are kept. */
function finalNames(weights: Weights): string[] {
  const { wte, wpe } = embeddingNames(weights.config);
  const last = `transformer.h.${weights.config.layers - 1}`;
  return [wte, wpe, `${last}.ln_1.weight`, `${last}.attn.c_proj.weight`];
}

/** ‖actual - expected‖ / ‖expected‖. */
function relativeError(actual: ArrayLike<number>, expected: Float64Array): number {
  assertEquals(actual.length, expected.length);
  const norm = (at: (i: number) => number) =>
    Math.sqrt(expected.reduce((sum, _, i) => sum + at(i) ** 2, 0));
  return norm((i) => actual[i]! - expected[i]!) / norm((i) => expected[i]!);
}

Deno.test("learningRate() is the goldens' schedule", () => {
  const lrs = golden("gpt2.lrs");
  assertClose(lrs.map((_, step) => learningRate(step, SCHEDULE)), lrs, { rtol: 1e-14 });
});

for (const name of Object.keys(CASES)) {
  for (const subgroups of name === "gpt3" ? [true, false] : [true]) {
    const kind = subgroups ? "" : " without subgroups";
    gpuTest(
      `TrainStep.run() takes PyTorch's ten AdamW steps with ${name}${kind}`,
      async (device) => {
        const { B, T, batches } = goldenBatches(name);
        const weights = goldenWeights(device, name, { trainable: true });
        const train = await TrainStep.create(device, weights, {
          B,
          T,
          settings: SETTINGS,
          dropout: 0,
          seed: 0,
        });
        const results: StepResult[] = [];
        for (const [step, batch] of batches.entries()) {
          await train.run(step, [batch], learningRate(step, SCHEDULE));
          results.push(...train.take());
        }
        results.push(...await train.drain());

        assertEquals(results.map(({ step }) => step), batches.map((_, step) => step));
        assert(results.every(({ skipped }) => !skipped));
        const of = (key: "loss" | "gradNorm" | "lr") => results.map((result) => result[key]);
        assertClose(of("loss"), golden(`${name}.losses`), { rtol: 1e-5, label: "losses" });
        assertClose(of("gradNorm"), golden(`${name}.norms`), { rtol: 1e-4, label: "norms" });
        assertClose(of("lr"), golden(`${name}.lrs`), { rtol: 1e-14, label: "learning rates" });
        for (const tensor of finalNames(weights)) {
          // AdamW turns the rounding error of a tiny gradient into a whole step, so not by element.
          const actual = await weights.read(device, tensor);
          const error = relativeError(actual, golden(`${name}.final.${tensor}`));
          assert(error <= 1e-5, `${tensor} after ten steps is off by ${error}`);
          await assertPaddingIsZero(device, weights, tensor);
        }
        train.destroy();
        weights.destroy();
      },
      { subgroups },
    );
  }
}

/** One step that leaves the weights as they are, so that its gradients can be read after it. */
async function gradientStep(
  device: Device,
  weights: Weights,
  shape: { B: number; T: number },
  batches: readonly Batch[],
): Promise<StepResult> {
  const options = { ...shape, settings: SETTINGS, dropout: 0, seed: 0 };
  const train = await TrainStep.create(device, weights, options);
  await train.run(0, batches, 0);
  const [result] = await train.drain();
  train.destroy();
  return result!;
}

gpuTest("TrainStep.run() over ragged micro-batches is one big batch", async (device) => {
  const { B, T, batches } = goldenBatches("accumulation");
  const unmasked = batches.map(({ mask }) => mask.reduce((sum, weight) => sum + weight, 0));
  assertEquals(unmasked, [1, 7, 0, 30, 64]);
  const weights = goldenWeights(device, "gpt2", { trainable: true });
  const readGradients = async () => {
    const parts: number[] = [];
    for (const { name } of weights.table) {
      for (const g of await weights.read(device, name, weights.grads)) parts.push(g);
    }
    return parts;
  };

  const result = await gradientStep(device, weights, { B, T }, batches);
  const accumulated = await readGradients();
  assertEquals(result.tokens, 102);
  assertClose(result.loss, golden("accumulation.loss"), { rtol: 1e-5, label: "loss" });
  assertClose(result.gradNorm, golden("accumulation.norm"), { rtol: 1e-5, label: "norm" });
  await assertGradients(device, weights, "accumulation");

  const join = <A extends Uint32Array | Float32Array>(part: (batch: typeof batches[0]) => A) =>
    batches.flatMap((batch) => [...part(batch)]);
  const big = await gradientStep(device, weights, { B: B * batches.length, T }, [{
    ids: Uint32Array.from(join(({ ids }) => ids)),
    targets: Uint32Array.from(join(({ targets }) => targets)),
    mask: Float32Array.from(join(({ mask }) => mask)),
  }]);
  const whole = await readGradients();
  assertClose(big.loss, result.loss, { rtol: 1e-6, label: "loss" });
  const mean = whole.reduce((sum, g, i) => sum + Math.abs(g - accumulated[i]!), 0) / whole.length;
  assert(mean <= 1e-5, `gradients differ by ${mean} in the mean`);
  weights.destroy();
});

gpuTest("TrainStep.run() of a step without an unmasked token has loss 0", async (device) => {
  const { B, T, batches } = goldenBatches("gpt2");
  const weights = goldenWeights(device, "gpt2", { trainable: true });
  const batch = { ...batches[0]!, mask: new Float32Array(B * T) };
  const result = await gradientStep(device, weights, { B, T }, [batch]);
  assertEquals([result.loss, result.gradNorm, result.tokens], [0, 0, 0]);
  weights.destroy();
});

gpuTest(
  "TrainStep.run() draws its dropout from seed, step and micro-batch alone",
  async (device) => {
    const { B, T, batches } = goldenBatches("gpt1");
    const weights = goldenWeights(device, "gpt1", { trainable: true });
    const lossOf = async (seed: number, step: number, count = 1) => {
      const options = { B, T, settings: SETTINGS, dropout: 0.1, seed };
      const train = await TrainStep.create(device, weights, options);
      await train.run(step, Array.from({ length: count }, () => batches[0]!), 0);
      const [result] = await train.drain();
      train.destroy();
      return result!.loss;
    };
    const first = await lossOf(1, 0);
    assertClose(first, golden("gpt1.loss"), { rtol: 0.2, label: "loss with dropout" });
    assertEquals(await lossOf(1, 0), first);
    const others = await Promise.all([lossOf(2, 0), lossOf(1, 1), lossOf(1, 0, 2)]);
    assertEquals(new Set([first, ...others]).size, 4);
    weights.destroy();
  },
);

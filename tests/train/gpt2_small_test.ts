// The smallest published GPT-2 at its whole context, which is past limits that a tiny model stays
// below, as the software adapter's 128 MiB of a binding.
import { assert, assertEquals } from "@std/assert";
import { ActivationPool } from "../../src/gpu/pool.ts";
import { prefersTextures } from "../../src/gpu/texture.ts";
import { PRESETS } from "../../src/model/config.ts";
import { Weights } from "../../src/model/parameters.ts";
import { Evaluator } from "../../src/train/evaluate.ts";
import { TrainStep } from "../../src/train/step.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest } from "../support/gpu.ts";
import { integers } from "../support/random.ts";
import { readEnv } from "../support/system.ts";

const CONFIG = PRESETS.gpt2;
const [B, T] = [1, CONFIG.contextLength];
const SETTINGS = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0.1, clip: 1 };

if (readEnv("BRACHIO_SLOW") === "1") {
  gpuTest("GPT-2 small evaluates and trains on 1,024 tokens", async (device) => {
    const weights = new Weights(device, CONFIG, { trainable: true });
    weights.initialise(device, 1);
    const tokens = integers(2, T + 1, CONFIG.vocabSize);
    const [inputs, targets] = [tokens.slice(0, T), tokens.slice(1)];

    const pool = new ActivationPool(device);
    const evaluator = await Evaluator.create(device, weights, { B, T }, { pool });
    const mask = new Float32Array(T).fill(1);
    const { loss } = await evaluator.run([{ inputs, targets, mask, unmaskedCount: T }]);
    evaluator.destroy();
    pool.destroy();
    // Logits of weights this small are nearly uniform.
    const uniformLoss = Math.log(CONFIG.vocabSize);
    assert(Math.abs(loss - uniformLoss) < 0.2, `${loss}, and ln V is ${uniformLoss}`);

    const bytes: number[] = [];
    for (const recompute of [false, true]) {
      const options = { B, T, settings: SETTINGS, dropout: 0, seed: 1, recompute };
      const train = await TrainStep.create(device, weights, options);
      bytes.push(train.activationBytes);
      if (!recompute) {
        for (const step of [0, 1]) await train.run(step, [{ ids: inputs, targets }], 1e-4);
        const [first, second] = await train.drain();
        assertClose(first!.loss, loss, { rtol: 1e-6, label: "loss of a step" });
        assert(second!.loss < first!.loss - 0.1, `${second!.loss} after ${first!.loss}`);
        assertEquals([first!.skipped, second!.skipped], [false, false]);
      }
      train.destroy();
    }
    // Both have the copies in textures, where a processor reads from those.
    const share = prefersTextures(device) ? 0.6 : 0.5;
    assert(bytes[1]! < share * bytes[0]!, `recomputing leaves ${bytes[1]} of ${bytes[0]} bytes`);
    weights.destroy();
  });
}

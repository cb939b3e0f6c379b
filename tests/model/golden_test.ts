// The decoder against PyTorch 2.13 in float64: tests/golden/make_models.py wrote the answers.
import { assertEquals } from "@std/assert";
import { Plan } from "../../src/gpu/plan.ts";
import { decoder } from "../../src/model/decoder.ts";
import { embeddingNames, parameterTable } from "../../src/model/parameters.ts";
import { lossState } from "../../src/ops/cross_entropy.ts";
import { bucketsLength, buildBuckets } from "../../src/ops/buckets.ts";
import { lmHeadLogits, lmHeadLoss } from "../../src/ops/lm_head.ts";
import { meanLoss } from "../../src/ops/reduce.ts";
import { assertClose } from "../support/close.ts";
import {
  assertGradients,
  CASES,
  golden,
  goldenBatches,
  goldenWeights,
} from "../support/golden_models.ts";
import { gpuTest, poison } from "../support/gpu.ts";

Deno.test("the golden models are GPT-1, GPT-2, GPT-3 and nanoGPT in small", () => {
  assertEquals(Object.keys(CASES), ["gpt1", "gpt2", "gpt3", "nanogpt"]);
  for (const [name, config] of Object.entries(CASES)) {
    for (const spec of parameterTable(config)) {
      const count = spec.shape.reduce((product, dim) => product * dim, 1);
      assertEquals(golden(`${name}.grad.${spec.name}`).length, count, spec.name);
    }
  }
});

for (const subgroups of [true, false]) {
  const kind = subgroups ? "" : " without subgroups";
  for (const [name, config] of Object.entries(CASES)) {
    const { B, T, batches } = goldenBatches(name);
    const batch = batches[0]!;
    const V = config.vocabSize;

    gpuTest(`decoder() of ${name} has PyTorch's logits${kind}`, async (device) => {
      const weights = goldenWeights(device, name, { trainable: false });
      const ids = device.upload("ids", [B, T], batch.ids);
      const plan = new Plan(device, { label: "logits" });
      const wte = weights.sharded(embeddingNames(config).wte);
      const logits = plan.keep(lmHeadLogits(plan, decoder(plan, weights, { ids }), { wte }, { V }));
      await plan.seal();
      poison(device, logits);
      plan.replay();
      const ld = logits.shape.at(-1)!;
      const actual = (await device.read(logits)).filter((_, i) => i % ld < V);
      assertClose(actual, golden(`${name}.logits`), { atol: 1e-4, label: "logits" });
      plan.destroy();
      ids.destroy();
      weights.destroy();
    }, { subgroups });

    gpuTest(`decoder() of ${name} has PyTorch's gradients${kind}`, async (device) => {
      const weights = goldenWeights(device, name, { trainable: true });
      const buckets = device.tensor("buckets", [bucketsLength(B * T)], "u32");
      device.write(buckets, buildBuckets(batch.ids));
      const ids = device.upload("ids", [B, T], batch.ids);
      const targets = device.upload("targets", [B * T], batch.targets);
      const mask = device.upload("mask", [B * T], batch.mask);
      const state = lossState(device);
      state.set({ scale: 1 / batch.mask.reduce((sum, weight) => sum + weight, 0) });

      const plan = new Plan(device, { label: "gradients", training: true });
      const hidden = decoder(plan, weights, { ids, buckets });
      const wte = weights.sharded(embeddingNames(config).wte);
      const { losses } = lmHeadLoss(plan, hidden, { wte }, { targets, mask, state, V });
      const loss = plan.keep(meanLoss(plan, losses, state));
      plan.backward();
      await plan.seal();
      poison(device, loss);
      plan.replay(); // gradients are zero when made, and added to
      assertClose(await device.read(loss), golden(`${name}.loss`), { rtol: 1e-5, label: "loss" });
      await assertGradients(device, weights, name);

      plan.destroy();
      for (const owned of [buckets, ids, targets, mask, state, weights]) owned.destroy();
    }, { subgroups });
  }
}

import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { checkEpochConfig, fixedEpochDifferences } from "../../src/train/epoch_config.ts";
import { EpochPlan, holdOut, limited } from "../../src/train/epochs.ts";
import { rewardSchema } from "../../src/train/reward_config.ts";
import type { RewardExample } from "../../src/train/reward_data.ts";
import { agreements } from "../../src/train/reward_score.ts";
import { sftSchema } from "../../src/train/sft_config.ts";

Deno.test("the published recipe is the default: epochs, batches, dropout, schedule", () => {
  const sft = sftSchema.parse({ data: "x" });
  assertEquals([sft.epochs, sft.batchRows, sft.dropout, sft.beta2], [16, 32, 0.2, 0.95]);
  const reward = rewardSchema.parse({ data: "x" });
  assertEquals([reward.epochs, reward.batchRows, reward.schedule], [1, 64, "cosine"]);
  const plan = new EpochPlan(new Array(70).fill(5), { ...sft, lr: 1, epochs: 2 });
  assertEquals([plan.epochSteps, plan.totalSteps], [3, 6]);
  assertEquals(plan.learningRate(0), 1);
  assertAlmostEquals(plan.learningRate(3), 0.55, 1e-12);
  assertAlmostEquals(plan.learningRate(6), 0.1, 1e-12);
});

Deno.test("EpochPlan has every example once an epoch, in an order of the epoch's own", () => {
  const config = { ...sftSchema.parse({ data: "x" }), batchRows: 8, epochs: 2 };
  const lengths = Array.from({ length: 45 }, (_, i) => 5 + (i * 7) % 40);
  const plan = new EpochPlan(lengths, config);
  const epochs = [0, 1].map((epoch) =>
    Array.from({ length: plan.epochSteps }, (_, i) => plan.examples(epoch * plan.epochSteps + i))
  );
  for (const epoch of epochs) {
    assertEquals(epoch.flat().sort((a, b) => a - b), lengths.map((_, i) => i));
  }
  assert(JSON.stringify(epochs[0]) !== JSON.stringify(epochs[1]));
  // What a step has does not depend on what was asked for before.
  assertEquals(new EpochPlan(lengths, config).examples(8), plan.examples(8));
});

Deno.test("holdOut() never has one prompt on both sides", () => {
  const examples = Array.from({ length: 200 }, (_, i) => ({ prompt: `${i % 60}`, i }));
  const { train, dev } = holdOut(examples, ({ prompt }) => prompt, 0.1);
  assertEquals(train.length + dev.length, 200);
  assert(dev.length > 10 && dev.length <= 20, `${dev.length}`);
  const held = new Set(dev.map(({ prompt }) => prompt));
  assertEquals(train.some(({ prompt }) => held.has(prompt)), false);
  assertEquals(train.map(({ i }) => i), train.map(({ i }) => i).sort((a, b) => a - b));
  assertEquals(holdOut(examples, ({ prompt }) => prompt, 0).dev, []);
});

Deno.test("limited() chooses by the seed, in the order of the data", () => {
  const all = Array.from({ length: 50 }, (_, i) => i);
  const some = limited(all, { limit: 10, seed: 1 });
  assertEquals(some.length, 10);
  assertEquals(some, some.toSorted((a, b) => a - b));
  assert(some.join() !== limited(all, { limit: 10, seed: 2 }).join());
  assertEquals(limited(all, { limit: 0, seed: 1 }), all);
});

Deno.test("a resumed run may change what it keeps, and nothing that it learns from", () => {
  const began = sftSchema.parse({ data: "x" });
  const wanted = { ...began, keep: 9, evalEvery: 3, lr: 1, pretrainShare: 0.5 };
  assertEquals(fixedEpochDifferences(began, wanted).sort(), ["lr", "pretrainShare"]);
  assertThrows(() => checkEpochConfig({ ...began, microRows: 5 }), RangeError, "multiple of");
  assertThrows(() => checkEpochConfig({ ...began, minLr: 1 }), RangeError, "minLr up to lr");
});

Deno.test("agreements() counts pairs, margins and losses, by confidence too", () => {
  const example = (weights: number[], confidence?: string) =>
    ({
      rows: [0, 1].map(() => Uint32Array.of(1)),
      weights,
      confidence,
    }) as unknown as RewardExample;
  const result = agreements(
    [example([0, 1, 0, 0], "2"), example([0, 0, 1, 0], "10"), example([0, 1, 0, 0])],
    [[3, 1], [0.5, 0], [1, 1]],
  );
  assertEquals(result.pairs, 3);
  assertAlmostEquals(result.accuracy, 1.5 / 3, 1e-12); // right, wrong, equal
  assertAlmostEquals(result.margin, (2 - 0.5 + 0) / 3, 1e-12);
  const loss = [2, -0.5, 0].reduce((sum, margin) => sum + Math.log(1 + Math.exp(-margin)), 0) / 3;
  assertAlmostEquals(result.loss, loss, 1e-12);
  assertEquals([...result.byConfidence.keys()], ["2", "10"]);
  assertEquals(result.byConfidence.get("10"), { accuracy: 0, margin: -0.5, pairs: 1 });
});

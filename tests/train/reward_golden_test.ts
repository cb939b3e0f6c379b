// A reward model against PyTorch in float64: tests/golden/make_reward.py wrote the answers.
import { assertEquals, assertThrows } from "@std/assert";
import { pairWeights } from "../../src/data/preference.ts";
import { scoreSpec } from "../../src/model/heads.ts";
import { type EncodedComparison, rewardBatch } from "../../src/train/reward_batches.ts";
import { RewardStep, scoreShape } from "../../src/train/reward_step.ts";
import bytes from "../golden/reward.safetensors" with { type: "bytes" };
import { Golden } from "../support/align.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest } from "../support/gpu.ts";

const golden = new Golden(bytes);
const { E, K, model } = golden.about;
const T = golden.shape("ids")[1]!;
const SETTINGS = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, clip: 1 };
const HEADS = [scoreSpec(scoreShape(1), model.channels)];

/** The prompts that are no padding, with the responses that are none. */
function comparisons(): EncodedComparison[] {
  const [ids, lengths, ranks] = ["ids", "lengths", "ranks"].map((name) => golden.of(name));
  return Array.from({ length: E }, (_, e) => {
    const own = [...ranks!.subarray(e * K, (e + 1) * K)].filter((rank) => rank > 0);
    const rows = own.map((_, k) => {
      const start = (e * K + k) * T;
      return Uint32Array.from(ids!.subarray(start, start + lengths![e * K + k]!));
    });
    const responses = own.map((_, k) => `${k}`);
    const length = Math.max(0, ...rows.map((row) => row.length));
    return { rows, ...pairWeights({ ranks: own, responses }), length };
  }).filter(({ rows }) => rows.length > 0);
}

Deno.test("rewardBatch() has every pair of a prompt, but ties, over C(K, 2)", () => {
  const batch = rewardBatch(comparisons(), { E, K, T });
  const ranks = golden.of("ranks");
  let pairs = 0;
  batch.weights.forEach((weight, n) => {
    const [e, i, j] = [Math.floor(n / (K * K)), Math.floor(n / K) % K, n % K];
    const own = ranks.subarray(e * K, (e + 1) * K);
    const count = own.filter((rank) => rank > 0).length;
    const isBetter = own[i]! > 0 && own[j]! > 0 && own[i]! < own[j]!;
    if (isBetter) pairs++;
    assertEquals(weight, isBetter ? Math.fround(2 / (count * (count - 1))) : 0, `${e} ${i} ${j}`);
  });
  assertEquals([batch.pairs, batch.count], [pairs, 3]);
  assertEquals(pairs, 5 + 3 + 6);
  assertEquals([...batch.lengths], [...golden.of("lengths")]);
});

for (const subgroups of [true, false]) {
  gpuTest(
    "RewardStep.run() has PyTorch's loss and gradients, with a tie" +
      (subgroups ? "" : " without subgroups"),
    async (device) => {
      const weights = golden.weights(device, { trainable: true, heads: HEADS });
      const all = comparisons();
      const whole = [rewardBatch(all, { E, K, T })];
      // A prompt's pairs stay together however the prompts are spread over micro-batches.
      const parts = [all.slice(0, 2), all.slice(2)].map((part) =>
        rewardBatch(part, { E: 2, K, T })
      );
      for (const [prompts, batches] of [[E, whole], [2, parts]] as const) {
        const shape = { prompts, responses: K };
        const options = { shape, settings: SETTINGS, dropout: 0, seed: 0 };
        const step = await RewardStep.create(device, weights, options);
        await step.run(0, batches, 0);
        const [result] = await step.drain();
        assertClose(result!.loss, golden.of("loss"), { rtol: 1e-5 });
        assertEquals(result!.pairs, 14);
        await golden.assertGradients(device, weights);
        step.destroy();
      }
      weights.destroy();
    },
    { subgroups },
  );
}

Deno.test("rewardBatch() says what does not fit", () => {
  for (const shape of [{ E: 2, K, T }, { E, K: 3, T }, { E, K, T: 19 }]) {
    assertThrows(
      () => rewardBatch(comparisons(), shape),
      RangeError,
      "got 3 prompts, 4 responses, 20 tokens",
    );
  }
});

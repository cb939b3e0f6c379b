// A step of direct preference optimisation against PyTorch in float64: tests/golden/make_dpo.py
// wrote the answers.
import { assert, assertEquals } from "@std/assert";
import { pairWeights } from "../../src/data/preference.ts";
import { ActivationPool } from "../../src/gpu/pool.ts";
import { dpoBatch, type DpoExample } from "../../src/train/dpo_batches.ts";
import { DpoStep } from "../../src/train/dpo_step.ts";
import { SequenceScorer } from "../../src/train/sequence_scorer.ts";
import bytes from "../golden/dpo.safetensors" with { type: "bytes" };
import { Golden } from "../support/align.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest } from "../support/gpu.ts";

const golden = new Golden(bytes);
const { E, K, beta } = golden.about;
const T = golden.shape("ids")[1]!;
const SETTINGS = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, clip: 1 };

/** The prompts that are no padding, with the responses that are none. */
function examples(): DpoExample[] {
  const [ids, lengths, ranks] = ["ids", "lengths", "ranks"].map((name) => golden.of(name));
  return Array.from({ length: E }, (_, e) => {
    const own = [...ranks!.subarray(e * K, (e + 1) * K)].filter((rank) => rank > 0);
    const rows = own.map((_, k) => {
      const start = (e * K + k) * T;
      return Uint32Array.from(ids!.subarray(start, start + lengths![e * K + k]!));
    });
    return {
      rows,
      ...pairWeights({ ranks: own, responses: own.map((_, k) => `${k}`) }),
      length: Math.max(0, ...rows.map((row) => row.length)),
      promptTokens: golden.of("prompts")[e]!,
      reference: Float32Array.from(golden.of("reference").subarray(e * K, e * K + own.length)),
    };
  }).filter(({ rows }) => rows.length > 0);
}

Deno.test("dpoBatch() learns the response alone, token by token", () => {
  const all = examples();
  const { mask, targets, lengths } = dpoBatch(all, { E, K, T });
  for (let r = 0; r < E * K; r++) {
    const isLive = lengths[r]! > 1;
    for (let t = 0; t < T; t++) {
      const own = isLive && t + 1 >= golden.of("prompts")[Math.floor(r / K)]! &&
        t + 1 < lengths[r]!;
      assertEquals(mask[r * T + t], own ? 1 : 0, `row ${r}, position ${t}`);
      if (own) assertEquals(targets[r * T + t], golden.of("ids")[r * T + t + 1]);
    }
  }
});

for (const subgroups of [true, false]) {
  const words = subgroups ? "" : " without subgroups";
  gpuTest(`DpoStep.run() has PyTorch's loss, gradients and metrics${words}`, async (device) => {
    const weights = golden.weights(device, { trainable: true });
    const all = examples();
    const whole = [dpoBatch(all, { E, K, T })];
    const parts = [all.slice(0, 2), all.slice(2)].map((part) => dpoBatch(part, { E: 2, K, T }));
    for (const [prompts, batches] of [[E, whole], [2, parts]] as const) {
      const shape = { prompts, responses: K };
      const options = { shape, settings: SETTINGS, beta: beta!, dropout: 0, seed: 0 };
      const step = await DpoStep.create(device, weights, options);
      await step.run(0, batches, 0);
      const [result] = await step.drain();
      assertClose(result!.loss, golden.of("loss"), { rtol: 1e-5 });
      const { chosen, rejected, accuracy, chosenLogps, rejectedLogps, pairs } = result!;
      assertEquals(pairs, 2 + 1 + 1);
      const metrics = [chosen, rejected, accuracy, chosenLogps, rejectedLogps];
      assertClose(metrics, golden.of("metrics"), { rtol: 1e-5 });
      await golden.assertGradients(device, weights);
      step.destroy();
    }
    weights.destroy();
  }, { subgroups });
}

gpuTest(
  "SequenceScorer.run() has PyTorch's log-probabilities, in the order of rows",
  async (device) => {
    const weights = golden.weights(device, { trainable: false });
    const pool = new ActivationPool(device);
    const scorer = new SequenceScorer(device, weights, 3, pool);
    const all = examples();
    const rows = all.flatMap(({ rows, promptTokens }) =>
      rows.map((ids) => ({ ids, promptTokens }))
    );
    const want = all.flatMap((
      { rows },
      e,
    ) => [...golden.of("logps").subarray(e * K, e * K + rows.length)]);
    assertClose(await scorer.run(rows), want, { rtol: 1e-5 });
    for (const owned of [scorer, pool, weights]) owned.destroy();
  },
);

gpuTest(
  "with the model as its own reference the loss is log 2 and no reward is there",
  async (device) => {
    const weights = golden.weights(device, { trainable: true });
    const pool = new ActivationPool(device);
    const scorer = new SequenceScorer(device, weights, E * K, pool);
    const all = examples();
    const rows = all.flatMap(({ rows, promptTokens }) =>
      rows.map((ids) => ({ ids, promptTokens }))
    );
    const own = await scorer.run(rows);
    let at = 0;
    const same = all.map((example) => ({
      ...example,
      reference: own.subarray(at, at += example.rows.length),
    }));
    const shape = { prompts: E, responses: K };
    const options = { shape, settings: SETTINGS, beta: 0.1, dropout: 0, seed: 0 };
    const step = await DpoStep.create(device, weights, options);
    await step.run(0, [dpoBatch(same, { E, K, T })], 0);
    const [{ loss, chosen, rejected }] = await step.drain() as [
      Awaited<ReturnType<typeof step.drain>>[0],
    ];
    // Two of the three pairs of prompt 0 count, each for a third.
    assertClose(loss, [Math.LN2 * (2 / 3 + 1 + 1) / 3], { rtol: 1e-5 });
    assert(Math.abs(chosen) < 1e-5 && Math.abs(rejected) < 1e-5, `${chosen} ${rejected}`);
    for (const owned of [step, scorer, pool, weights]) owned.destroy();
  },
);

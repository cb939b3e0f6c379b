// Fine-tuning on responses against transformers in float64: tests/golden/make_sft.py wrote them.
import { assertEquals, assertRejects } from "@std/assert";
import { ActivationPool } from "../../src/gpu/pool.ts";
import { responseBatch } from "../../src/train/sft_batches.ts";
import { ResponseEvaluator, SftStep } from "../../src/train/sft_step.ts";
import bytes from "../golden/sft.safetensors" with { type: "bytes" };
import { Golden, goldenDialogues } from "../support/align.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest } from "../support/gpu.ts";

const golden = new Golden(bytes);
const [R, T] = golden.shape("ids") as [number, number];
const SETTINGS = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, clip: 1 };

const dialogues = () => goldenDialogues(golden);

Deno.test("responseBatch() counts the tokens of responses, one by one", () => {
  const batch = responseBatch(dialogues(), { R, T });
  const [ids, own, lengths] = ["ids", "own", "lengths"].map((name) => golden.of(name));
  for (let n = 0; n < R * T; n++) {
    const next = n % T === T - 1 ? undefined : n + 1;
    const isOwn = next !== undefined && own![next] === 1;
    assertEquals(batch.mask[n], isOwn ? 1 : 0, `position ${n}`);
    if (isOwn) assertEquals(batch.targets[n], ids![next]!, `target ${n}`);
  }
  assertEquals([...batch.lengths], [...lengths!]);
  assertEquals(batch.unmaskedCount, own!.reduce((a, b) => a + b));
});

for (const subgroups of [true, false]) {
  gpuTest(
    "SftStep.run() has the loss and the gradients of transformers" +
      (subgroups ? "" : " without subgroups"),
    async (device) => {
      const weights = golden.weights(device, { trainable: true });
      const options = { settings: SETTINGS, dropout: 0, seed: 0 };
      const rows = dialogues();
      const whole = [responseBatch(rows, { R, T })];
      // In parts of 3 and 1: one divisor for the step, so the same mean and gradients.
      const parts = [rows.slice(0, 3), rows.slice(3)].map((part) =>
        responseBatch(part, { R: 3, T })
      );
      for (const [size, batches] of [[R, whole], [3, parts]] as const) {
        const step = await SftStep.create(device, weights, { rows: size, ...options });
        await step.run(0, batches, 0);
        const [result] = await step.drain();
        assertClose(result!.loss, golden.of("loss"), { rtol: 1e-5 });
        assertEquals(result!.responseTokens, whole[0]!.unmaskedCount);
        await golden.assertGradients(device, weights);
        step.destroy();
      }
      weights.destroy();
    },
    { subgroups },
  );
}

gpuTest("ResponseEvaluator.run() has the loss of transformers over batches", async (device) => {
  const weights = golden.weights(device, { trainable: false });
  const pool = new ActivationPool(device);
  const evaluator = new ResponseEvaluator(device, weights, { rows: 2, pool });
  const rows = dialogues().sort((a, b) => a.ids.length - b.ids.length);
  const batches = Array.from({ length: 20 }, (_, n) => { // more than fit the ring
    const part = n % 2 === 0 ? rows.slice(0, 2) : rows.slice(2);
    return responseBatch(part, { R: 2, T: part[1]!.ids.length });
  });
  const { loss, tokens } = await evaluator.run(batches);
  assertClose(loss, golden.of("loss"), { rtol: 1e-5 });
  assertEquals(tokens, 10 * golden.of("own").reduce((a, b) => a + b));
  evaluator.destroy();
  pool.destroy();
  weights.destroy();
});

gpuTest("SftStep.run() says what does not fit", async (device) => {
  const weights = golden.weights(device, { trainable: true });
  const options = { rows: R, settings: SETTINGS, dropout: 0, seed: 0 };
  const step = await SftStep.create(device, weights, options);
  const [first] = dialogues();
  const batches = [T, T + 4].map((T) => responseBatch([first!], { R, T }));
  await assertRejects(
    () => step.run(0, batches, 0),
    RangeError,
    "Cannot train on a step: batches of 20 tokens: got 24",
  );
  await assertRejects(() => step.run(0, [], 0), RangeError, "got no batch");
  const odd = { ids: Uint32Array.of(61), isResponse: Uint8Array.of(0) };
  await assertRejects(
    () => step.run(0, [responseBatch([odd], { R, T })], 0),
    RangeError,
    "below 61",
  );
  step.destroy();
  weights.destroy();
});

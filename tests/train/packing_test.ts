// Dialogues that share rows: tests/golden/make_sft.py wrote what each of them has alone.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { Device, OpenOptions } from "../../src/gpu/device.ts";
import type { Weights } from "../../src/model/parameters.ts";
import type { EncodedDialogue } from "../../src/prompt/dialogue.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { packRows } from "../../src/train/packing.ts";
import { packedBatch, type ResponseBatch, responseBatch } from "../../src/train/sft_batches.ts";
import { SftStep } from "../../src/train/sft_step.ts";
import bytes from "../golden/sft.safetensors" with { type: "bytes" };
import { Golden, goldenDialogues, gradientBound } from "../support/align.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest } from "../support/gpu.ts";

const golden = new Golden(bytes);
const SETTINGS = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, clip: 1 };

Deno.test("packRows() puts every text into one row, and wastes little", () => {
  const stream = new PhiloxStream(1, 2);
  const lengths = Array.from({ length: 500 }, () => 1 + stream.integer(90));
  const rows = packRows(lengths, 128);
  assertEquals(rows.flat().toSorted((a, b) => a - b), lengths.map((_, i) => i));
  const counts = rows.map((row) => row.reduce((sum, i) => sum + lengths[i]!, 0));
  assert(counts.every((count) => count <= 128));
  const total = lengths.reduce((a, b) => a + b);
  assertEquals(rows.length, Math.ceil(total / 128)); // no fewer would do
  assertEquals(packRows(lengths, 128), rows);
  assertEquals(packRows([4, 4, 4], 4), [[0], [1], [2]]);
  assertEquals(packRows([], 4), []);
  assertThrows(() => packRows([3, 5], 4), RangeError, "texts of at most 4 tokens: got 5");
});

/** Dialogues of random tokens, a few of each responses'. */
function drawn(count: number, mostTokens: number): EncodedDialogue[] {
  const stream = new PhiloxStream(3, 4);
  return Array.from({ length: count }, () => {
    const length = 2 + stream.integer(mostTokens - 1);
    const from = 1 + stream.integer(length - 1);
    const ids = Uint32Array.from({ length }, () => stream.integer(golden.about.model.vocabSize));
    return { ids, isResponse: Uint8Array.from(ids, (_, t) => t >= from ? 1 : 0) };
  });
}

Deno.test("packedBatch() has each token's dialogue, place, target and mask, one by one", () => {
  const [R, T] = [4, 24];
  const dialogues = drawn(9, 11);
  const rows = packRows(dialogues.map(({ ids }) => ids.length), T)
    .map((row) => row.map((i) => dialogues[i]!));
  assert(rows.length < R && rows.some((row) => row.length > 2), "a row of padding, and a full one");
  const batch = packedBatch(rows, { R, T });
  const { segments, positions } = batch.packed!;
  let [tokens, learnt] = [0, 0];
  for (let r = 0; r < R; r++) {
    let n = r * T;
    for (const { ids, isResponse } of rows[r] ?? []) {
      const start = n - r * T;
      for (let t = 0; t < ids.length; t++, n++) {
        const what = `token ${t} of a dialogue at ${start} of row ${r}`;
        assertEquals([batch.ids[n], positions[n]], [ids[t], t], what);
        const range = [segments[n], segments[R * T + n]];
        assertEquals(range, [start, start + ids.length], what);
        const isLearnt = t + 1 < ids.length && isResponse[t + 1] === 1;
        assertEquals(batch.mask[n], isLearnt ? 1 : 0, what);
        if (isLearnt) assertEquals(batch.targets[n], ids[t + 1], what);
        learnt += batch.mask[n]!;
      }
      tokens += ids.length;
    }
    for (; n < (r + 1) * T; n++) { // padding sees nothing but itself, and nothing is learnt there
      const at = n - r * T;
      const got = [batch.ids[n], positions[n], segments[n], segments[R * T + n], batch.mask[n]];
      assertEquals(got, [0, 0, at, at + 1, 0], `padding at ${at} of row ${r}`);
    }
  }
  assertEquals([batch.tokens, batch.unmaskedCount], [tokens, learnt]);
  assertThrows(
    () => packedBatch([dialogues], { R, T }),
    RangeError,
    "Cannot make a batch: at most 4 rows of 24 tokens",
  );
});

/** Loss and gradients of a step of batches, by name. */
async function gradients(
  device: Device,
  weights: Weights,
  { rows, packed, batches }: { rows: number; packed: boolean; batches: readonly ResponseBatch[] },
): Promise<{ loss: number; responseTokens: number; grads: Map<string, Float32Array> }> {
  const options = { rows, packed, settings: SETTINGS, dropout: 0, seed: 0 };
  const step = await SftStep.create(device, weights, options);
  await step.run(0, batches, 0);
  const [result] = await step.drain();
  const grads = new Map<string, Float32Array>();
  for (const { name } of weights.table) {
    grads.set(name, await weights.read(device, name, weights.grads));
  }
  step.destroy();
  return { ...result!, grads };
}

const KINDS: readonly (readonly [string, OpenOptions])[] = [
  ["", {}],
  [" without subgroups", { subgroups: false }],
  [" with a GPU's kernels", { tuning: "gpu" }],
];

for (const [suffix, options] of KINDS) {
  gpuTest(
    `SftStep.run() of packed rows has the loss and the gradients of transformers${suffix}`,
    async (device) => {
      const weights = golden.weights(device, { trainable: true });
      const [long, short, middle, last] = goldenDialogues(golden);
      const T = golden.about.model.contextLength;
      const rows = [[long!], [short!, middle!], [last!]]; // 20, 9 + 14 and 17 tokens of 24
      const whole = [packedBatch(rows, { R: 4, T })];
      const parts = [rows.slice(0, 2), rows.slice(2)].map((part) => packedBatch(part, { R: 2, T }));
      for (const [size, batches] of [[4, whole], [2, parts]] as const) {
        const { loss } = await gradients(device, weights, { rows: size, packed: true, batches });
        assertClose(loss, golden.of("loss"), { rtol: 1e-5 });
        await golden.assertGradients(device, weights);
      }
      weights.destroy();
    },
    options,
  );

  gpuTest(
    `SftStep.run() learns the same from packed rows as from one a row${suffix}`,
    async (device) => {
      const weights = golden.weights(device, { trainable: true });
      const T = golden.about.model.contextLength;
      const dialogues = drawn(21, 9);
      const rows = packRows(dialogues.map(({ ids }) => ids.length), T)
        .map((row) => row.map((i) => dialogues[i]!));
      assert(rows.some((row) => row.length > 3), "rows of several dialogues");
      const one = [responseBatch(dialogues, { R: 21, T })];
      const alone = await gradients(device, weights, { rows: 21, packed: false, batches: one });
      const R = rows.length;
      const batches = [packedBatch(rows, { R, T })];
      const packed = await gradients(device, weights, { rows: R, packed: true, batches });
      assertEquals(packed.responseTokens, alone.responseTokens);
      assertClose(packed.loss, [alone.loss], { rtol: 1e-6 });
      for (const [name, expected] of alone.grads) {
        const bound = gradientBound(name, expected, weights.config.channels);
        assertClose(packed.grads.get(name)!, expected, { bound, label: `gradient of ${name}` });
      }
      weights.destroy();
    },
    options,
  );
}

gpuTest("SftStep.run() refuses rows of another kind than its own", async (device) => {
  const weights = golden.weights(device, { trainable: true });
  const T = golden.about.model.contextLength;
  const dialogues = drawn(2, 9);
  for (const packed of [true, false]) {
    const options = { rows: 2, packed, settings: SETTINGS, dropout: 0, seed: 0 };
    const step = await SftStep.create(device, weights, options);
    const batch = packed
      ? responseBatch(dialogues, { R: 2, T })
      : packedBatch([dialogues], { R: 2, T });
    const words = ["one dialogue", "several dialogues"];
    const [got, want] = packed ? words : words.toReversed();
    await assertRejects(
      () => step.run(0, [batch], 0),
      RangeError,
      `rows of ${want}: got rows of ${got}`,
    );
    step.destroy();
  }
  weights.destroy();
});

import { assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { ReadbackRing } from "../../src/gpu/ring.ts";
import type { SamplingOptions } from "../../src/infer/sampler.ts";
import { DEAD_ROW } from "../../src/ops/attention_cached.ts";
import { decodeInputs, decodeResult, type RowResult, scoreTokens } from "../../src/ops/sampling.ts";
import {
  createSlotState,
  destroySlots,
  freeSlot,
  SLOT,
  SLOT_FIELDS,
  STATE,
  writeSlot,
} from "../../src/ops/slots.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest, poison } from "../support/gpu.ts";
import { normal } from "../support/random.ts";
import { assertChoice, type Case, SamplingBed, slotText } from "../support/sampling.ts";

/** What the rows were given and told in each of some steps of one submission. */
interface Steps {
  readonly inputs: { ids: number[]; positions: number[]; sequences: number[] }[];
  readonly results: RowResult[][];
}

/** Runs steps of one submission; nothing is written between them. */
async function steps(
  device: Device,
  options: { N: number; V: number; T: number; count: number },
  cases: readonly (Case | undefined)[],
): Promise<Steps> {
  const { N, count } = options;
  let inputs!: ReturnType<typeof decodeInputs>;
  const bed = await SamplingBed.create(device, options, ({ plan, state, rows }) => {
    inputs = decodeInputs(plan, state, rows);
    for (const tensor of Object.values(inputs)) plan.keep(tensor);
  });
  const tensors = [inputs.ids, inputs.positions, inputs.sequences, bed.results];
  const slotBytes = tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const ring = new ReadbackRing<number>(device, { slots: count, slotBytes });
  for (const tensor of tensors) poison(device, tensor);
  bed.write(cases);
  const encoder = device.gpu.createCommandEncoder();
  for (let step = 0; step < count; step++) {
    bed.plan.encode(encoder);
    ring.record(encoder, tensors, step);
  }
  device.gpu.queue.submit([encoder.finish()]);
  ring.submitted();
  const found: Steps = { inputs: [], results: [] };
  for (let step = 0; step < count; step++) {
    const [ids, positions, sequences, results] = (await ring.next())!.values;
    found.inputs.push({
      ids: [...ids!],
      positions: [...positions!],
      sequences: [...sequences!],
    });
    found.results.push(
      Array.from({ length: N }, (_, row) => decodeResult(results as Uint32Array, row)),
    );
  }
  ring.destroy();
  bed.destroy();
  return found;
}

gpuTest(
  "sampleTokens() and decodeInputs() write texts with nothing between the steps",
  async (device) => {
    const [N, V, T, count] = [6, 90, 40, 12];
    const ways: SamplingOptions[] = [
      { temperature: 0, frequencyPenalty: 1.5, presencePenalty: 0.5 },
      { temperature: 1.2, repetitionPenalty: 1.4 },
      { temperature: 0, noRepeatNgram: 2 },
      { topK: 4, noRepeatNgram: 3, frequencyPenalty: 0.3, logitBias: [[3, 4]] },
      { topP: 0.8, minP: 0.05, temperature: 2 },
    ];
    const all = ways.map((options, row): Case => ({
      logits: normal(row, V, 2),
      ids: [3, 1, 4, 1, 5, 9, 2, 6].slice(0, row + 3),
      written: row,
      options: { ...options, seed: 77, choice: row },
      slot: { sequence: 10 + row, maxTokens: count, top: row },
    }));
    const { inputs, results } = await steps(device, { N, V, T, count }, all);
    all.forEach((item, row) => {
      const ids = [...item.ids!];
      for (let step = 0; step < count; step++) {
        assertEquals(inputs[step]!.ids[row], ids.at(-1));
        assertEquals(inputs[step]!.positions[row], ids.length - 1);
        assertEquals(inputs[step]!.sequences[row], 10 + row);
        const got = results[step]![row]!;
        const written = ids.length - item.ids!.length + item.written!;
        assertChoice(got.id, { ...item, ids, written }, `row ${row} step ${step}`);
        assertEquals(got.position, ids.length);
        assertEquals(got.state, step === count - 1 ? STATE.LENGTH : STATE.ALIVE);
        assertEquals(got.top.length, row);
        ids.push(got.id);
      }
    });
    for (const { positions } of inputs) assertEquals(positions[5], DEAD_ROW);
    for (const told of results) assertEquals(told[5]!.written, false);
  },
);

gpuTest("sampleTokens() ends texts at stop ids, maxTokens and the context", async (device) => {
  const [N, V, T, count] = [5, 9, 12, 6];
  const logits = new Float32Array(V);
  const [greedy, ids] = [{ temperature: 0 }, [8]];
  const climb = Float32Array.from({ length: V }, (_, id) => id); // 8, then 7, … with n-grams of 1
  const down: SamplingOptions = { ...greedy, noRepeatNgram: 1 };
  const all: Case[] = [
    { logits: climb, ids, options: down, slot: { stopIds: [1, 2, 3, 5] } },
    { logits: climb, ids, options: down, slot: { maxTokens: 3 } },
    { logits, ids: new Array(10).fill(0), options: greedy, slot: { maxTokens: 99 } },
    { logits: climb, ids, options: greedy, slot: { stopIds: [8], maxTokens: 1 } },
    { logits, ids: new Array(11).fill(0), options: greedy, slot: { maxTokens: 1 } },
  ];
  const { inputs, results } = await steps(device, { N, V, T, count }, all);
  const states = (row: number) =>
    results.filter((told) => told[row]!.written)
      .map((told) => told[row]!.state);
  const { ALIVE, STOP, LENGTH, CONTEXT } = STATE;
  assertEquals(states(0), [ALIVE, ALIVE, STOP]);
  assertEquals(results.slice(0, 3).map((told) => told[0]!.id), [7, 6, 5]);
  assertEquals(states(1), [ALIVE, ALIVE, LENGTH]);
  assertEquals(states(2), [ALIVE, CONTEXT]);
  assertEquals(states(3), [STOP], "a stop id goes before maxTokens");
  assertEquals(states(4), [LENGTH], "maxTokens goes before the context");
  const dead = (row: number) =>
    inputs.filter(({ positions }) => positions[row] === DEAD_ROW).length;
  assertEquals([0, 1, 2, 3, 4].map(dead), [3, 3, 4, 5, 5]);
});

gpuTest(
  "freeSlot() and writeSlot() change what a row does, and nothing of other slots",
  async (device) => {
    const bed = await SamplingBed.create(device, { N: 3, V: 8 });
    const text: Case = {
      logits: Float32Array.from([0, 1, 2, 3, 4, 5, 6, 7]),
      options: { temperature: 0, frequencyPenalty: 2 },
    };
    const states = async () => (await bed.run([text, text, text])).map(({ written }) => written);
    assertEquals(await states(), [true, true, true]);
    freeSlot(device, bed.state, 1);
    bed.plan.replay();
    assertEquals((await bed.read()).map(({ written }) => written), [true, false, true]);
    const slots = await device.readU32(bed.state.slots);
    assertEquals([0, 1, 2].map((s) => slots[s * SLOT_FIELDS + SLOT.LENGTH]), [3, 0, 3]);
    bed.destroy();
  },
);

gpuTest("writeSlot() refuses texts that do not fit", async (device) => {
  const state = createSlotState(device, { S: 2, V: 10, T: 8 });
  const fine = { ids: [1], sequence: 0, maxTokens: 1, sampling: slotText({}).sampling };
  const refuse = (text: object, message: string, slot = 1) =>
    assertThrows(() => writeSlot(device, state, slot, { ...fine, ...text }), RangeError, message);
  refuse({}, "Cannot write slot 2: one of 2: got 2", 2);
  refuse({ ids: [] }, "1 to 7 ids: got 0");
  refuse({ ids: new Array(8).fill(0) }, "1 to 7 ids: got 8");
  refuse({ ids: [3, 10] }, "ids below 10: got 10 at 1");
  refuse({ written: 1 }, "fewer written ids than ids: got 1");
  refuse({ maxTokens: 0 }, "maxTokens from 1: got 0");
  refuse({ stopIds: [1, 2, 3, 4, 5] }, "at most 4 stop ids: got 5");
  refuse({ top: 21 }, "top from 0 to 20: got 21");
  refuse(slotText({ options: { logitBias: [[10, 1]] } }), "biased ids below 10: got 10");
  assertThrows(() => freeSlot(device, state, -1), RangeError, "one of 2: got -1");
  destroySlots(state);
  await device.idle();
});

for (const V of [1, 65, 1001]) {
  gpuTest(`scoreTokens() tells what the logits say of given tokens, V = ${V}`, async (device) => {
    const N = 19;
    const ld = Math.ceil(V / 4) * 4;
    const data = normal(V, N * ld, 5);
    data[4 * ld] = NaN;
    data[5 * ld] = -Infinity;
    const targets = Uint32Array.from(
      { length: N },
      (_, n) => n % 6 === 3 ? DEAD_ROW : (n * 37) % V,
    );
    const tops = Uint32Array.from({ length: N }, (_, n) => n);
    const logits = device.upload("logits", [N, ld], data);
    const goals = device.upload("targets", [N], targets);
    const top = device.upload("top", [N], tops);
    const plan = new Plan(device, { label: "score" });
    const results = plan.keep(scoreTokens(plan, logits, goals, { V, top }));
    await plan.seal();
    poison(device, results);
    plan.replay();
    const words = await device.readU32(results);
    for (let n = 0; n < N; n++) {
      const got = decodeResult(words, n);
      const row = Array.from(data.subarray(n * ld, n * ld + V));
      const isBad = n === 4 || (n === 5 && V === 1);
      const isDead = targets[n] === DEAD_ROW;
      assertEquals(got.written, !isBad && !isDead, `row ${n}`);
      assertEquals(got.state, isBad ? STATE.FAILED : STATE.FREE, `row ${n}`);
      assertEquals(got.top.length, got.written ? Math.min(n, V) - (n === 5 && V <= n ? 1 : 0) : 0);
      if (!got.written) continue;
      const most = Math.max(...row);
      const log = Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
      const of = (id: number) => row[id]! - most - log;
      assertEquals(got.id, targets[n]);
      assertClose(got.logProbability, of(got.id), { atol: 1e-5 });
      const order = row.map((_, id) => id).sort((a, b) => row[b]! - row[a]! || a - b);
      assertEquals(got.top.map(({ id }) => id), order.slice(0, got.top.length));
      assertClose(
        got.top.map((token) => token.logProbability),
        got.top.map(({ id }) => of(id)),
        { atol: 1e-5 },
      );
      const same = got.top.find(({ id }) => id === got.id);
      if (same) assertEquals(same.logProbability, got.logProbability);
    }
    for (const thing of [plan, logits, goals, top]) thing.destroy();
  });
}

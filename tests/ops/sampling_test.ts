import { assert, assertEquals, assertThrows } from "@std/assert";
import { constants } from "../../src/gpu/specialize.ts";
import type { SamplingOptions } from "../../src/infer/sampler.ts";
import { DEAD_ROW } from "../../src/ops/attention_cached.ts";
import { RESULT, RESULT_FIELDS, type RowResult, sampleTokens } from "../../src/ops/sampling.ts";
import { MOST_TOP_TOKENS, SLOT, SLOT_FIELDS, STATE } from "../../src/ops/slots.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest } from "../support/gpu.ts";
import { integers, normal } from "../support/random.ts";
import { assertChoice, type Case, SamplingBed, twin } from "../support/sampling.ts";
import result from "../../shaders/result.wgsl" with { type: "text" };
import slot from "../../shaders/slot.wgsl" with { type: "text" };

const N = 16;

/** Sixteen ways to choose, each option alone and with others. */
const WAYS: readonly SamplingOptions[] = [
  { temperature: 0 },
  {},
  { temperature: 0.7 },
  { temperature: 3.5 },
  { topK: 1 },
  { topK: 7, temperature: 1.5 },
  { topK: 40 },
  { topP: 0.9 },
  { topP: 0.05, temperature: 2 },
  { topK: 50, topP: 0.95 },
  { minP: 0.1 },
  { temperature: 1.5, topK: 30, topP: 0.97, minP: 0.02 },
  { repetitionPenalty: 1.3 },
  { frequencyPenalty: 0.8, presencePenalty: -0.6, temperature: 0.9 },
  { noRepeatNgram: 2, temperature: 0 },
  {
    temperature: 0.8,
    topK: 500,
    topP: 0.9,
    minP: 0.001,
    repetitionPenalty: 0.8,
    frequencyPenalty: 0.5,
    presencePenalty: 0.5,
    noRepeatNgram: 1,
  },
];

/** Texts of all ways, for one seed. */
function cases(seed: number, V: number, spread: number): Case[] {
  return WAYS.map((way, row) => {
    const logits = normal(seed * 100 + row, V, spread);
    const ids = [...integers(seed * 100 + row, 30, V)];
    const bias = row % 5 === 4 ? [[seed % V, 5], [V - 1, -100]] as const : [];
    return {
      logits,
      ids,
      written: row,
      options: { ...way, logitBias: bias, seed: 1000 + seed, choice: row },
      slot: { top: (seed * 3 + row) % (MOST_TOP_TOKENS + 1) },
    };
  });
}

/** Log-probabilities of raw logits, in f64. */
function logSoftmax(logits: ArrayLike<number>): Float64Array {
  const top = Array.from(logits).reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - top);
  return Float64Array.from(logits, (logit) => logit - top - Math.log(sum));
}

/** Fails unless the list is the likeliest tokens, and the chosen token's number is the list's. */
function assertTold(got: RowResult, logits: ArrayLike<number>, count: number): void {
  const want = logSoftmax(logits);
  const order = Array.from(want, (_, id) => id).filter((id) => want[id]! > -Infinity)
    .sort((a, b) => logits[b]! - logits[a]! || a - b).slice(0, count);
  assertEquals(got.top.map(({ id }) => id), order);
  assertClose(got.top.map((t) => t.logProbability), order.map((id) => want[id]!), { atol: 1e-5 });
  if (!got.written) return;
  assertClose(got.logProbability, want[got.id]!, { atol: 1e-5 });
  const same = got.top.find(({ id }) => id === got.id);
  if (same) assertEquals(got.logProbability, same.logProbability);
}

Deno.test("slot.wgsl and result.wgsl have the words of the modules", () => {
  const own = constants(slot);
  for (const [name, word] of Object.entries(SLOT)) assertEquals(own[`SLOT_${name}`], word, name);
  for (const [name, value] of Object.entries(STATE)) assertEquals(own[`STATE_${name}`], value);
  assertEquals(own.SLOT_FIELDS, SLOT_FIELDS);
  assert(slot.includes(`const DEAD = 0x${DEAD_ROW.toString(16)}u;`));
  const results = constants(result);
  for (const [name, word] of Object.entries(RESULT)) assertEquals(results[`RESULT_${name}`], word);
  assertEquals(results.RESULT_FIELDS, RESULT_FIELDS);
  assertEquals(results.MOST_TOP_TOKENS, MOST_TOP_TOKENS);
});

for (const [V, seeds, workgroupSize] of [[1, 3, 8], [3, 8, 16], [65, 12, 64], [1000, 8, 8]]) {
  gpuTest(`sampleTokens() chooses as the twin does, V = ${V}`, async (device) => {
    const bed = await SamplingBed.create(device, { N, V: V!, workgroupSize: workgroupSize! });
    for (let seed = 0; seed < seeds!; seed++) {
      const all = cases(seed, V!, 1 + seed % 4 * 2);
      const got = await bed.run(all);
      all.forEach((item, row) => {
        const { id, written, state, position } = got[row]!;
        assertEquals({ written, state, position }, {
          written: true,
          state: STATE.ALIVE,
          position: 30,
        });
        assertChoice(id, item, `V ${V} seed ${seed} row ${row}`);
        assertTold(got[row]!, item.logits, item.slot!.top!);
      });
    }
    bed.destroy();
  });
}

gpuTest("sampleTokens() chooses as the twin does, V = 50257", async (device) => {
  const V = 50_257;
  const bed = await SamplingBed.create(device, { N, V });
  let equal = 0;
  for (const [seed, spread] of [[1, 1], [2, 4]] as const) {
    const all = cases(seed, V, spread);
    const got = await bed.run(all);
    all.forEach((item, row) => {
      assertChoice(got[row]!.id, item, `spread ${spread} row ${row}`);
      assertTold(got[row]!, item.logits, item.slot!.top!);
      if (got[row]!.id === twin(item).id) equal++;
    });
  }
  assert(equal >= 2 * N - 1, `${equal} of ${2 * N} equal`);
  bed.destroy();
});

gpuTest("sampleTokens() keeps the lowest ids of equal logits", async (device) => {
  const V = 1203;
  const bed = await SamplingBed.create(device, { N, V, workgroupSize: 32 });
  const steps = Float32Array.from({ length: V }, (_, id) => [0, 1, 1, -0, 2.5][id % 5]!);
  const flat = new Float32Array(V).fill(-3);
  const zeros = Float32Array.from({ length: V }, (_, id) => id % 2 ? -0 : 0);
  const few = Float32Array.from({ length: V }, (_, id) => id % 3 ? 0 : id % 7); // the least is 0
  for (let seed = 0; seed < 6; seed++) {
    const all = Array.from({ length: N }, (_, row): Case => ({
      logits: [steps, flat, zeros, few][row % 4]!,
      ids: [1, 2, 3],
      options: row < 8
        ? { topK: 1 + 61 * row + 97 * seed, seed }
        : row < 12
        ? { topP: 0.08 * (row - 7) + 0.1 * seed + 0.003, seed }
        : { topK: 690, topP: 0.1 * (row - 10) + 0.05 * seed, seed },
      slot: { top: 20 },
    }));
    const got = await bed.run(all);
    all.forEach((item, row) => {
      assertChoice(got[row]!.id, item, `seed ${seed} row ${row}`);
      assertTold(got[row]!, item.logits, 20);
    });
  }
  bed.destroy();
});

gpuTest(
  "sampleTokens() leaves out -Infinity, and bans all but the likeliest at most",
  async (device) => {
    const V = 70;
    const bed = await SamplingBed.create(device, { N, V });
    const some = normal(5, V, 2);
    for (let id = 0; id < V; id++) if (id % 3) some[id] = -Infinity;
    const one = new Float32Array(V).fill(-Infinity);
    one[69] = -1e30;
    const huge = Float32Array.from({ length: V }, (_, id) => id === 4 ? 1e30 : -1e30 * id);
    const ids = [0, 1, 2];
    const all: Case[] = [
      { logits: some, ids, options: { seed: 3, temperature: 5 }, slot: { top: 20 } },
      { logits: some, ids, options: { seed: 4, topK: 60, topP: 0.99 }, slot: { top: 20 } },
      { logits: some, ids, options: { seed: 5, repetitionPenalty: 1.5, logitBias: [[1, 100]] } },
      { logits: one, ids, options: { seed: 6 }, slot: { top: 5 } },
      { logits: one, ids, options: { seed: 6, topP: 0.5, topK: 2, minP: 1 } },
      { logits: huge, ids, options: { seed: 6, temperature: 1e-30 } },
      { logits: huge, ids, options: { seed: 6, temperature: 1e30, topP: 0.9 } },
      { logits: some, ids: Array.from({ length: 60 }, (_, i) => i), options: { noRepeatNgram: 1 } },
      { logits: one, ids: [69, 1], options: { noRepeatNgram: 1 } },
      { logits: one, ids: [69, 1], options: { noRepeatNgram: 1, temperature: 0 } },
      { logits: some, ids, options: { minP: 1, seed: 3 } },
    ];
    const got = await bed.run(all);
    all.forEach((item, row) => {
      assertChoice(got[row]!.id, item, `row ${row}`);
      assertEquals(got[row]!.written, true);
      // Above 1e30 a log-probability is a difference that f32 has to a relative bound only.
      if (item.logits !== huge) assertTold(got[row]!, item.logits, item.slot?.top ?? 0);
    });
    assertEquals([got[8]!.id, got[9]!.id], [69, 69]);
    bed.destroy();
  },
);

gpuTest(
  "sampleTokens() says which logits are no numbers, and writes nothing then",
  async (device) => {
    const V = 130;
    const bed = await SamplingBed.create(device, { N, V });
    const bits = (word: number) => new Float32Array(new Uint32Array([word]).buffer);
    const bad = [0x7fc00000, 0xffc00001, 0x7f800001, 0x7f800000].map((word, n) => {
      const logits = normal(n, V);
      logits.set(bits(word), [0, 64, 128, 129][n]);
      return logits;
    });
    bad.push(new Float32Array(V).fill(-Infinity));
    const fine = normal(9, V);
    const ways = [{ temperature: 0 }, { topP: 0.9, topK: 5 }, { repetitionPenalty: 2, topP: 0.5 }];
    const all = [...bad, fine].flatMap((logits) =>
      ways.slice(0, 2).concat(logits === bad[0] ? ways[2]! : []).map((options) => ({
        logits,
        options,
        slot: { top: 3 },
      }))
    );
    const got = await bed.run(all);
    const slots = await device.readU32(bed.state.slots);
    all.forEach(({ logits }, row) => {
      const good = logits === fine;
      assertEquals(got[row]!.written, good);
      assertEquals(got[row]!.state, good ? STATE.ALIVE : STATE.FAILED);
      assertEquals(got[row]!.top.length, good ? 3 : 0);
      assertEquals(slots[row * SLOT_FIELDS + SLOT.LENGTH], good ? 2 : 1);
      assertEquals(slots[row * SLOT_FIELDS + SLOT.STATE], good ? STATE.ALIVE : STATE.FAILED);
    });
    bed.destroy();
  },
);

gpuTest("sampleTokens() gives a row the same bits alone and among others", async (device) => {
  const V = 1000;
  const bed = await SamplingBed.create(device, { N, V });
  const all = cases(3, V, 2);
  await bed.run(all);
  const together = await device.readU32(bed.results);
  const alone = await SamplingBed.create(device, { N: 1, V });
  for (const [row, item] of all.entries()) {
    await alone.run([item]);
    const words = await device.readU32(alone.results);
    const told = item.slot!.top!;
    // Words after the end of the list are not said.
    const said = (from: Uint32Array) => [
      ...from.slice(0, 6),
      ...from.slice(RESULT.TOP_IDS, RESULT.TOP_IDS + told),
      ...from.slice(RESULT.TOP_LOG_PROBABILITIES, RESULT.TOP_LOG_PROBABILITIES + told),
    ];
    const beside = together.slice(row * RESULT_FIELDS, (row + 1) * RESULT_FIELDS);
    assertEquals(said(words), said(beside), `row ${row}`);
  }
  alone.destroy();
  bed.destroy();
});

gpuTest("sampleTokens() draws as often as the probabilities say", async (device) => {
  const probabilities = [0.02, 0.3, 0.08, 0.25, 0.05, 0.1, 0.2];
  const V = probabilities.length;
  const rows = 4000;
  const logits = Float32Array.from(probabilities, Math.log);
  const bed = await SamplingBed.create(device, { N: rows, V, workgroupSize: 4 });
  const all = Array.from({ length: rows }, (_, choice): Case => ({
    logits,
    options: { seed: 11, choice },
  }));
  const counts = new Array<number>(V).fill(0);
  for (const { id } of await bed.run(all)) counts[id]!++;
  const chi2 = probabilities.reduce((sum, p, id) => {
    return sum + (counts[id]! - p * rows) ** 2 / (p * rows);
  }, 0);
  assert(chi2 < 22.5, `chi² of 6 degrees of freedom ${chi2}: p below 0.001`);
  bed.destroy();
});

gpuTest("sampleTokens() refuses shapes that do not fit", async (device) => {
  const bed = await SamplingBed.create(device, { N: 2, V: 10 });
  const plan = new Plan(device, { label: "refused" });
  const { state, rows } = bed;
  const odd = device.tensor("odd", [2, 10]);
  const three = device.tensor("three", [3], "u32");
  assertThrows(() => sampleTokens(plan, odd, state, rows), RangeError, "a multiple of 4 columns");
  assertThrows(() => sampleTokens(plan, bed.logits, state, three), RangeError, "of 2 rows: got 3");
  assertThrows(() => sampleTokens(plan, bed.logits, state, rows, { V: 11 }), RangeError, "V = 11");
  assertThrows(
    () => sampleTokens(plan, bed.logits, state, rows, { V: 65 }),
    RangeError,
    "V from 1",
  );
  for (const thing of [plan, odd, three, bed]) thing.destroy();
});

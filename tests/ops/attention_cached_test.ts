import { assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { attention } from "../../src/ops/attention.ts";
import { attentionCached, BLOCK_TOKENS, DEAD_ROW } from "../../src/ops/attention_cached.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { attentionForward } from "../reference/attention.ts";
import { assertBits, assertClose } from "../support/close.ts";
import { gpuTest, poison, testDevice } from "../support/gpu.ts";
import { uniform } from "../support/random.ts";

// As attention(): twice the error of a score of HS terms, and one of exp.
const FORWARD = { rtol: 0, atol: 3e-6 };

interface Shape {
  T: number;
  NH: number;
  HS: number;
  band?: number;
  workgroupSize?: number;
  /** How keys and values are kept. @default "f32" */
  storage?: "f32" | "f16";
}

/** A replay: of which sequence and position each row is; null is no row. */
type Step = readonly ({ sequence: number; position: number } | null)[];

/** Rows first … first + live - 1 of one sequence in a plan of so many rows. */
function chunk(sequence: number, first: number, live: number, rows = live): Step {
  return Array.from(
    { length: rows },
    (_, n) => n < live ? { sequence, position: first + n } : null,
  );
}

/** The steps that take T tokens in chunks of so many, in plans of `rows` rows. */
function chunks(T: number, sizes: readonly number[], rows?: number): Step[] {
  const steps: Step[] = [];
  for (let at = 0, i = 0; at < T; i++) {
    const live = Math.min(sizes[i % sizes.length]!, T - at);
    steps.push(chunk(0, at, live, rows));
    at += live;
  }
  return steps;
}

/**
 * Runs the steps on a cache full of NaN whose blocks are in no order.
 *
 * @returns out (T, C) of each sequence; rows that no step had are NaN
 */
async function run(
  device: Device,
  { T, NH, HS, band, workgroupSize, storage }: Shape,
  sequences: readonly Float32Array[], // (T, 3, C) each
  steps: readonly Step[],
): Promise<Float32Array[]> {
  const C = NH * HS;
  const owned: { destroy(): void }[] = [];
  const own = <D extends { destroy(): void }>(thing: D): D => (owned.push(thing), thing);
  const columns = Math.ceil(T / BLOCK_TOKENS);
  const blocks = new PhiloxStream(T).shuffle(
    Uint32Array.from({ length: sequences.length * columns + 1 }, (_, i) => i),
  );
  const table = own(
    device.upload(
      "table",
      [sequences.length, columns],
      blocks.slice(0, sequences.length * columns),
    ),
  );
  const slots = blocks.length * BLOCK_TOKENS;
  const keys = poison(device, own(device.tensor("keys", [slots, C], storage)));
  const values = poison(device, own(device.tensor("values", [slots, C], storage)));
  const plans = new Map<string, ReturnType<typeof record>>();
  const record = (N: number, isChunk: boolean) => {
    const inputs = {
      qkv: own(device.tensor("qkv", [N, 1, 3 * C])),
      positions: own(device.tensor("positions", [N], "u32")),
      sequences: own(device.tensor("sequences", [N], "u32")),
    };
    const plan = own(new Plan(device, { label: "cached" }));
    const out = plan.keep(attentionCached(plan, inputs.qkv, { keys, values }, {
      ...inputs,
      table,
      chunk: isChunk,
      heads: NH,
      ...(band === undefined ? {} : { band }),
      ...(workgroupSize === undefined ? {} : { workgroupSize }),
    }));
    return { plan, out, inputs };
  };

  const outs = sequences.map(() => new Float32Array(T * C).fill(NaN));
  for (const step of steps) {
    const isChunk = step.every((row, n) =>
      !row || (row.position - n === step[0]?.position &&
        row.sequence === step[0].sequence)
    );
    const key = `${step.length} ${isChunk}`;
    const known = plans.get(key) ?? record(step.length, isChunk);
    if (!plans.has(key)) await known.plan.seal();
    plans.set(key, known);
    const qkv = new Float32Array(step.length * 3 * C).fill(NaN);
    step.forEach((row, n) => {
      if (!row) return;
      const at = row.position * 3 * C;
      qkv.set(sequences[row.sequence]!.subarray(at, at + 3 * C), n * 3 * C);
    });
    const { plan, out, inputs } = known;
    device.write(inputs.qkv, qkv);
    device.write(inputs.positions, Uint32Array.from(step, (row) => row?.position ?? DEAD_ROW));
    device.write(inputs.sequences, Uint32Array.from(step, (row) => row?.sequence ?? 0));
    poison(device, out);
    plan.replay();
    const got = await device.read(out);
    step.forEach((row, n) => {
      const part = got.subarray(n * C, (n + 1) * C);
      if (row) outs[row.sequence]!.set(part, row.position * C);
      else assertEquals(part, new Float32Array(C), `row ${n} is dead`);
    });
  }
  for (const thing of owned.reverse()) thing.destroy();
  return outs;
}

/**
 * attention() of the whole sequence, by kernels that count keys in fours as attentionCached() does:
 * a device that is tuned as a GPU has others.
 */
async function whole(
  own: Device,
  { T, NH, HS, band, workgroupSize }: Shape,
  data: Float32Array,
): Promise<Float32Array> {
  const device = own.tuning === "processor"
    ? own
    : await testDevice({ tuning: "processor", subgroups: own.lanes > 0 });
  const qkv = device.upload("qkv", [1, T, 3 * NH * HS], data);
  const plan = new Plan(device, { label: "whole" });
  const out = plan.keep(attention(plan, qkv, {
    heads: NH,
    ...(band === undefined ? {} : { band }),
    ...(workgroupSize === undefined ? {} : { workgroupSize }),
  }));
  await plan.seal();
  plan.replay();
  const result = await device.read(out);
  plan.destroy();
  qkv.destroy();
  return result;
}

/** Queries as they are, keys and values as halves are. */
function rounded(qkv: Float32Array, C: number): Float32Array {
  return qkv.map((x, i) => i % (3 * C) < C ? x : Math.f16round(x));
}

const name = ({ T, NH, HS, ...rest }: Shape) => `(${T}, ${NH}, ${HS}) ${JSON.stringify(rest)}`;

/** In chunks, token by token, and both: the reference's values, and attention()'s bits. */
async function check(device: Device, shape: Shape): Promise<void> {
  const { T, NH, HS } = shape;
  const qkv = uniform(T + HS, T * 3 * NH * HS);
  const seen = shape.storage === "f16" ? rounded(qkv, NH * HS) : qkv;
  const want = attentionForward(seen, { B: 1, ...shape }).out;
  const bits = await whole(device, shape, seen);
  const ways: Record<string, Step[]> = {
    "at once": chunks(T, [T]),
    "in chunks of 32": chunks(T, [32], 32),
    "in uneven chunks": chunks(T, [5, 17, 1, 30], 32),
    "chunks, then tokens": [
      ...chunks(T, [32], 32).slice(0, Math.floor(T / 32)),
      ...Array.from({ length: T % 32 }, (_, i) => chunk(0, T - T % 32 + i, 1)),
    ],
  };
  for (const [way, steps] of Object.entries(ways)) {
    const [out] = await run(device, shape, [qkv], steps);
    assertClose(out!, want, { ...FORWARD, label: way });
    assertBits(out!, bits, `bits ${way}`);
  }
}

const SHAPES: readonly Shape[] = [
  { T: 1, NH: 1, HS: 4 },
  { T: 70, NH: 3, HS: 16 },
  { T: 70, NH: 3, HS: 16, band: 5 },
  { T: 81, NH: 2, HS: 32, band: 33 },
  { T: 50, NH: 1, HS: 80 },
  { T: 35, NH: 3, HS: 5, band: 17 },
];

for (const shape of SHAPES) {
  gpuTest(
    `attentionCached() matches the reference at ${name(shape)}`,
    (device) => check(device, shape),
  );
}
for (const shape of [SHAPES[2]!, { ...SHAPES[3]!, workgroupSize: 32 }]) {
  gpuTest(
    `attentionCached() without subgroups matches the reference at ${name(shape)}`,
    (device) => check(device, shape),
    { subgroups: false },
  );
}

const HALF_SHAPES: readonly Shape[] = [
  { T: 1, NH: 1, HS: 4 },
  { T: 70, NH: 3, HS: 16, band: 5 },
  { T: 50, NH: 1, HS: 80 },
  { T: 35, NH: 2, HS: 5, band: 17 },
];
for (const shape of HALF_SHAPES.map((shape): Shape => ({ ...shape, storage: "f16" }))) {
  for (const subgroups of [true, false]) {
    gpuTest(
      `attentionCached() ${subgroups ? "" : "without subgroups "}rounds to f16 at ${name(shape)}`,
      (device) => check(device, shape),
      { subgroups },
    );
  }
}

for (const subgroups of [true, false]) {
  const suffix = subgroups ? "" : " without subgroups";
  gpuTest(`attentionCached()${suffix} takes rows of several sequences`, async (device) => {
    const shape: Shape = { T: 40, NH: 2, HS: 16 };
    const { T, NH, HS } = shape;
    const data = [1, 2, 3].map((seed) => uniform(seed, T * 3 * NH * HS));
    const starts = [33, 0, 16]; // tokens of each sequence that are cached before
    const steps: Step[] = starts.flatMap((live, s) => live > 0 ? [chunk(s, 0, live)] : []);
    for (let i = 0; i < T; i++) {
      const rows = starts.map((at, sequence) => at + i < T ? { sequence, position: at + i } : null);
      steps.push([rows[2]!, rows[0]!, null, rows[1]!]);
    }
    const outs = await run(device, shape, data, steps);
    for (const [s, qkv] of data.entries()) {
      assertBits(outs[s]!, await whole(device, shape, qkv), `sequence ${s}`);
    }
  }, { subgroups });
}

gpuTest("attentionCached() refuses what does not fit", async (device) => {
  const plan = new Plan(device, { label: "refused" });
  const u32 = (label: string, shape: number[]) => plan.activation(label, shape, "u32");
  const layer = (slots: number) => ({
    keys: plan.activation("keys", [slots, 8]),
    values: plan.activation("values", [slots, 8]),
  });
  const qkv = plan.activation("qkv", [3, 24]);
  const good = {
    positions: u32("positions", [3]),
    sequences: u32("sequences", [3]),
    table: u32("table", [1, 2]),
    chunk: false,
    heads: 2,
  };
  const refused: [Partial<Parameters<typeof attentionCached>[3]>, number, string][] = [
    [{ heads: 5 }, 32, `"qkv" must end in 3 heads HS with heads = 5: got 24`],
    [{ positions: u32("p", [2]) }, 32, `"p" must be (3) of u32: got (2) of u32`],
    [{ sequences: plan.activation("s", [3]) }, 32, `"s" must be (3) of u32: got (3) of f32`],
    [{ table: u32("t", [2]) }, 32, `"t" must be (S, blocks) of u32: got (2) of u32`],
    [{ band: -1 }, 32, `"band" of 0 or more keys: got -1`],
    [{}, 33, `"keys" must be (blocks of 16, 8): got (33, 8) of f32`],
  ];
  for (const [options, slots, message] of refused) {
    assertThrows(
      () => attentionCached(plan, qkv, layer(slots), { ...good, ...options }),
      RangeError,
      message,
    );
  }
  const halves = plan.activation("halves", [32, 8], "f16");
  const mixed = { keys: halves, values: plan.activation("values", [32, 8]) };
  assertThrows(() => attentionCached(plan, qkv, mixed, good), RangeError, "kept alike");
  const odd = plan.activation("odd", [32, 7], "f16");
  assertThrows(
    () =>
      attentionCached(plan, plan.activation("qkv", [3, 21]), { keys: odd, values: odd }, {
        ...good,
        heads: 1,
      }),
    RangeError,
    `an even C where "odd" is f16: got 7`,
  );
  assertEquals(plan.items.length, 0);
  plan.destroy();
  await device.idle();
});

import { assertEquals, assertThrows } from "@std/assert";
import type { Device, OpenOptions } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import type { Tensor } from "../../src/gpu/tensor.ts";
import { attention, type AttentionOptions } from "../../src/ops/attention.ts";
import { dropoutState } from "../../src/ops/dropout.ts";
import { philox4x32, uniformFromU32 } from "../../src/random/philox.ts";
import { attentionBackward, attentionForward } from "../reference/attention.ts";
import { assertBits, assertClose } from "../support/close.ts";
import { gpuTest, poison } from "../support/gpu.ts";
import { uniform } from "../support/random.ts";

// An output is a mean of values below 1, off by about twice the error of its scores: HS / 2
// roundings of terms that sum to less than √HS / 4 here, and one of exp. Measured: 4e-7.
const FORWARD = { rtol: 0, atol: 3e-6 };
// A gradient sums up to T terms, each off as an output is, times |dout · v| < 10. Measured: 2e-6.
const BACKWARD = { rtol: 1e-5, atol: 1e-5 };

const DROPOUT = { rate: 0.3, site: 5, seed: [7, 9], step: 11, micro: 13 } as const;

interface Case {
  B: number;
  T: number;
  NH: number;
  HS: number;
  band?: number;
  lengths?: readonly number[];
  /** Lengths of the texts that share a row, the same in each; they fill it. */
  texts?: readonly number[];
  drops?: boolean;
  kind?: "flash" | "materialised";
  workgroupSize?: number;
}

/** 0 or 1 / (1 - rate) for a probability, from the CPU's random words. */
function keep({ T, NH }: Case): (b: number, h: number, t: number, j: number) => number {
  const { rate, site, seed, step, micro } = DROPOUT;
  const groups = Math.ceil(T / 4);
  return (b, h, t, j) => {
    const group = ((b * NH + h) * T + t) * groups + Math.floor(j / 4);
    const word = philox4x32([group, site, step, micro], seed)[j % 4]!;
    return uniformFromU32(word) >= rate ? 1 / (1 - rate) : 0;
  };
}

/** Which text each token is of, (B, T), and where that starts and ends, (2, B, T). */
function textsOf({ B, texts }: Case): { texts?: number[]; segments?: number[] } {
  if (!texts) return {};
  const ends = texts.map((_, i) => texts.slice(0, i + 1).reduce((a, b) => a + b));
  const row = (value: (i: number) => number) =>
    texts.flatMap((length, i) => new Array<number>(length).fill(value(i)));
  const rows = (value: (i: number) => number) => new Array(B).fill(row(value)).flat();
  return {
    texts: rows((i) => i),
    segments: [...rows((i) => ends[i]! - texts[i]!), ...rows((i) => ends[i]!)],
  };
}

/** Everything that a dispatch writes, scratch too, becomes NaN. */
function poisonWritten(device: Device, plan: Plan): void {
  for (const item of plan.items) {
    if (item.kind !== "dispatch") continue;
    for (const { tensor, access } of item.bindings) if (access === "write") poison(device, tensor);
  }
}

/** Runs forward and backward, of one attention a case, all on the same qkv. */
async function run(
  device: Device,
  cases: readonly Case[],
  qkv: Float32Array,
  dout: Float32Array,
): Promise<{ outs: Float32Array[]; dqkv: Float32Array }> {
  const { B, T, NH, HS } = cases[0]!;
  const C = NH * HS;
  const owned: { destroy(): void }[] = [];
  const own = <D extends { destroy(): void }>(thing: D): D => (owned.push(thing), thing);
  const inp = own(device.upload("qkv", [B, T, 3 * C], qkv));
  const gradient = own(device.upload("dout", [B, T, C], dout));
  const plan = own(new Plan(device, { label: "attention", training: true }));
  plan.variable(inp);
  const outs: Tensor[] = [];
  for (const shape of cases) {
    const { lengths, drops, band, kind, workgroupSize } = shape;
    const options: AttentionOptions = { heads: NH };
    if (band !== undefined) options.band = band;
    if (kind !== undefined) options.kind = kind;
    if (workgroupSize !== undefined) options.workgroupSize = workgroupSize;
    if (lengths) options.lengths = own(device.upload("lengths", [B], Uint32Array.from(lengths)));
    const { segments } = textsOf(shape);
    if (segments) {
      options.segments = own(device.upload("segments", [2, B, T], Uint32Array.from(segments)));
    }
    if (drops) {
      const { rate, site, seed, step, micro } = DROPOUT;
      const state = own(dropoutState(device));
      state.set({ seed_lo: seed[0], seed_hi: seed[1], step, micro });
      options.dropout = { rate, site, state };
    }
    const out = plan.keep(attention(plan, inp, options));
    plan.seed(out, gradient);
    outs.push(out);
  }
  plan.backward();
  const dinp = plan.keep(plan.gradient(inp)!);
  await plan.seal();
  poisonWritten(device, plan);
  plan.replay();
  const result = {
    outs: await Promise.all(outs.map((out) => device.read(out))),
    dqkv: await device.read(dinp),
  };
  for (const thing of owned) thing.destroy();
  return result;
}

const data = ({ B, T, NH, HS }: Case) => ({
  qkv: uniform(B + T, B * T * 3 * NH * HS),
  dout: uniform(T + HS, B * T * NH * HS),
});

async function check(device: Device, shape: Case): Promise<void> {
  const { qkv, dout } = data(shape);
  const { outs, dqkv } = await run(device, [shape], qkv, dout);
  const { texts } = textsOf(shape);
  const dims = { ...shape, texts, keep: shape.drops ? keep(shape) : undefined };
  assertClose(outs[0]!, attentionForward(qkv, dims).out, { ...FORWARD, label: "out" });
  assertClose(dqkv, attentionBackward(dout, qkv, dims), { ...BACKWARD, label: "dqkv" });
}

const name = ({ B, T, NH, HS, ...rest }: Case) =>
  `(${B}, ${T}, ${NH}, ${HS}) ${JSON.stringify(rest)}`;

const SHAPES: readonly Case[] = [
  { B: 1, T: 1, NH: 1, HS: 4 },
  { B: 2, T: 3, NH: 3, HS: 4, band: 1 },
  { B: 2, T: 17, NH: 3, HS: 16, band: 5 },
  { B: 4, T: 65, NH: 1, HS: 16, lengths: [0, 65, 17, 1] },
  { B: 1, T: 129, NH: 3, HS: 32, band: 64 },
  { B: 3, T: 129, NH: 1, HS: 32, band: 5, lengths: [128, 0, 33] },
  { B: 1, T: 65, NH: 3, HS: 32, band: 200 },
  { B: 1, T: 65, NH: 3, HS: 80, band: 64 },
  { B: 3, T: 17, NH: 1, HS: 80, lengths: [16, 0, 17] },
  { B: 1, T: 2049, NH: 1, HS: 4 },
  { B: 2, T: 17, NH: 3, HS: 5 },
  { B: 2, T: 129, NH: 1, HS: 5, band: 5, lengths: [70, 129] },
  { B: 1, T: 17, NH: 1, HS: 256 },
  { B: 2, T: 3, NH: 1, HS: 4, texts: [1, 1, 1] },
  { B: 2, T: 129, NH: 3, HS: 32, texts: [3, 61, 1, 31, 32, 1] },
  { B: 1, T: 97, NH: 1, HS: 16, band: 7, texts: [5, 40, 52] },
  { B: 2, T: 70, NH: 1, HS: 5, texts: [33, 37] },
];
/** Those that need kernels of their own. */
const VARIANTS: readonly Case[] = [
  { B: 2, T: 65, NH: 3, HS: 16, kind: "materialised", band: 7, lengths: [65, 40] },
  { B: 2, T: 65, NH: 3, HS: 16, drops: true, band: 33, lengths: [65, 18] },
  { B: 1, T: 70, NH: 2, HS: 32, drops: true },
  { B: 1, T: 70, NH: 2, HS: 32, kind: "materialised", drops: true },
  { B: 2, T: 66, NH: 2, HS: 16, drops: true, texts: [30, 1, 35] },
  { B: 1, T: 66, NH: 2, HS: 16, kind: "materialised", texts: [30, 1, 35] },
];

for (const shape of [...SHAPES, ...VARIANTS]) {
  gpuTest(`attention() matches the reference at ${name(shape)}`, (device) => check(device, shape));
}
// Heads of up to 32 channels: larger tiles do not fit the workgroup memory of every adapter.
for (const shape of [...SHAPES, ...VARIANTS]) {
  if (![4, 16, 32].includes(shape.HS) || shape.T < 65 || shape.kind === "materialised") continue;
  gpuTest(
    `attention() matches the reference with a GPU's kernels at ${name(shape)}`,
    (device) => check(device, shape),
    { tuning: "gpu" },
  );
}
for (const shape of [...SHAPES.filter(({ HS }) => HS % 5 !== 0), ...VARIANTS]) {
  gpuTest(
    `attention() without subgroups matches the reference at ${name(shape)}`,
    (device) => check(device, shape),
    { subgroups: false },
  );
}
gpuTest(
  "attention() without subgroups matches the reference with workgroups of 32",
  (device) => check(device, { B: 2, T: 65, NH: 1, HS: 48, band: 40, workgroupSize: 32 }),
  { subgroups: false },
);

const KINDS: readonly (readonly [string, OpenOptions])[] = [
  ["", {}],
  [" without subgroups", { subgroups: false }],
  [" with a GPU's kernels", { tuning: "gpu" }],
];

for (const [suffix, options] of KINDS) {
  gpuTest(`attention()${suffix} adds to a gradient that is there`, async (device) => {
    const shape: Case = { B: 2, T: 17, NH: 3, HS: 16 };
    const banded = { ...shape, band: 5, lengths: [17, 6] };
    const { qkv, dout } = data(shape);
    const { dqkv } = await run(device, [shape, banded], qkv, dout);
    const want = attentionBackward(dout, qkv, banded);
    attentionBackward(dout, qkv, shape).forEach((value, index) => want[index]! += value);
    assertClose(dqkv, want, BACKWARD);
  }, options);

  gpuTest(`attention()${suffix} gives a row the same bits at any T and B`, async (device) => {
    const long: Case = { B: 1, T: 129, NH: 2, HS: 16, band: 70 };
    const C = long.NH * long.HS;
    const { qkv, dout } = data(long);
    const { outs: [want] } = await run(device, [long], qkv, dout);
    for (const [B, T] of [[1, 1], [3, 50], [2, 97]] as const) {
      const some = new Float32Array(B * T * 3 * C);
      for (let b = 0; b < B; b++) some.set(qkv.subarray(0, T * 3 * C), b * T * 3 * C);
      const { outs: [got] } = await run(
        device,
        [{ ...long, B, T }],
        some,
        dout.slice(0, B * T * C),
      );
      for (let b = 0; b < B; b++) {
        const rows = got!.subarray(b * T * C, (b + 1) * T * C);
        assertEquals(rows, want!.subarray(0, T * C), `b ${b} of (${B}, ${T})`);
      }
    }
  }, options);

  // A GPU's kernels keep no scores and add up in another order: others do it where they are asked
  // for.
  if (options.tuning !== "gpu") {
    gpuTest(`attention()${suffix} gives the same bits flash and materialised`, async (device) => {
      const shape: Case = { B: 2, T: 65, NH: 3, HS: 32 };
      const { qkv, dout } = data(shape);
      const flash = await run(device, [{ ...shape, kind: "flash" }], qkv, dout);
      const materialised = await run(device, [{ ...shape, kind: "materialised" }], qkv, dout);
      assertBits(materialised.outs[0]!, flash.outs[0]!, "out");
      assertBits(materialised.dqkv, flash.dqkv, "dqkv");
    }, { ...options, tuning: "processor" });
  }

  gpuTest(`attention()${suffix} ignores what padding holds`, async (device) => {
    const shape: Case = { B: 2, T: 17, NH: 1, HS: 16, lengths: [9, 0] };
    const { qkv, dout } = data(shape);
    const want = await run(device, [shape], qkv, dout);
    for (let b = 0; b < shape.B; b++) {
      const [from, to] = [b * shape.T + shape.lengths![b]!, (b + 1) * shape.T];
      qkv.fill(NaN, from * 48, to * 48);
      dout.fill(NaN, from * 16, to * 16);
    }
    assertEquals(await run(device, [shape], qkv, dout), want);
  }, options);

  gpuTest(
    `attention()${suffix} gives a text the same bits whatever the others of its row hold`,
    async (device) => {
      const shape: Case = { B: 1, T: 70, NH: 2, HS: 16, texts: [5, 37, 28] };
      const { qkv, dout } = data(shape);
      const want = await run(device, [shape], qkv, dout);
      const [from, to] = [5, 42]; // the text in the middle
      for (let i = from * 96; i < to * 96; i++) qkv[i] = 7 - 100 * qkv[i]!;
      for (let i = from * 32; i < to * 32; i++) dout[i] = 7 - 100 * dout[i]!;
      const got = await run(device, [shape], qkv, dout);
      for (const { outs, dqkv } of [want, got]) { // the others' must be as they were
        outs[0]!.fill(0, from * 32, to * 32);
        dqkv.fill(0, from * 96, to * 96);
      }
      assertEquals(got, want);
    },
    options,
  );

  gpuTest(`attention()${suffix} folds more heads than a dispatch dimension`, async (device) => {
    const [B, NH, HS] = [260, 256, 4];
    const qkv = uniform(1, B * 3 * NH * HS);
    const inp = device.upload("qkv", [B, 1, 3 * NH * HS], qkv);
    const plan = new Plan(device, { label: "heads" });
    const out = plan.keep(attention(plan, inp, { heads: NH }));
    await plan.seal();
    poisonWritten(device, plan);
    plan.replay();
    const got = await device.read(out);
    for (let b = 0; b < B; b++) { // a single key has probability 1
      const values = qkv.subarray((b * 3 + 2) * NH * HS, (b * 3 + 3) * NH * HS);
      assertEquals(got.subarray(b * NH * HS, (b + 1) * NH * HS), values);
    }
    plan.destroy();
    inp.destroy();
  }, options);
}

gpuTest("attention() refuses what does not fit", async (device) => {
  const plan = new Plan(device, { label: "refuses" });
  const qkv = device.tensor("qkv", [2, 3, 48]);
  const short = device.tensor("lengths", [1], "u32");
  const whole = device.tensor("lengths", [2], "u32");
  const segments = device.tensor("segments", [2, 2, 3], "u32");
  const flat = qkv.view("flat", [6, 48]);
  const wide = plan.activation("wide", [1, 1, 3 * 257]);
  const state = dropoutState(device);
  const refused: [Tensor, AttentionOptions, string][] = [
    [flat, { heads: 2 }, `"flat" must be (B, T, 3 C): got (6, 48)`],
    [qkv, { heads: 3 }, `"qkv" must end in 3 heads HS with heads = 3: got 48`],
    [qkv, { heads: 0 }, `heads = 0`],
    [wide, { heads: 1 }, `a head size of at most 256: got 257`],
    [qkv, { heads: 2, band: -1 }, `"band" of 0 or more keys: got -1`],
    [qkv, { heads: 2, lengths: short }, `"lengths" must be (2) u32: got (1) u32`],
    [qkv, { heads: 2, segments: short }, `"lengths" must be (2, 2, 3) u32: got (1) u32`],
    [qkv, { heads: 2, lengths: whole, segments }, `lengths or segments: got both`],
    [qkv, { heads: 2, dropout: { rate: 1, site: 0, state } }, `rate in [0, 1): got 1`],
  ];
  for (const [tensor, options, message] of refused) {
    assertThrows(() => attention(plan, tensor, options), RangeError, message);
  }
  assertEquals(plan.items.length, 0);
  plan.destroy();
  qkv.destroy();
  for (const tensor of [short, whole, segments]) tensor.destroy();
  state.destroy();
  await device.idle();
});

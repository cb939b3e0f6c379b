import { assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import type { RowWindow, ShardedParameter, Tensor } from "../../src/gpu/tensor.ts";
import { lossState } from "../../src/ops/cross_entropy.ts";
import { lmHeadLogits, lmHeadLoss } from "../../src/ops/lm_head.ts";
import { meanLoss } from "../../src/ops/reduce.ts";
import { crossEntropy } from "../reference/cross_entropy.ts";
import { linearBackward, matmulNt } from "../reference/matmul.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest, poison } from "../support/gpu.ts";
import { integers, normal } from "../support/random.ts";
import { absolute, dotBound, TOLERANCE } from "../support/tolerance.ts";

interface Shape {
  N: number;
  C: number;
  /** Live rows of wte. */
  V: number;
  /** Rows of each window; the sum is V or, with padding, more. */
  windows: readonly number[];
  chunkRows?: number;
}

/** Tensors of one case and their f64 twins. */
function fixture(device: Device, { N, C, V, windows }: Shape) {
  const Vp = windows.reduce((a, b) => a + b, 0);
  const data = {
    x: normal(1, N * C),
    wte: normal(2, Vp * C, 1 / Math.sqrt(C)),
    targets: integers(3, N, V),
    mask: Float32Array.from({ length: N }, (_, n) => n % 5 === 2 ? 0 : 1),
    dwte: normal(4, Vp * C, 0.01), // what is in the gradient before
  };
  data.wte.fill(NaN, V * C); // padding is left alone
  const scale = 1 / data.mask.reduce((a, b) => a + b);
  const x = device.upload("x", [N, C], data.x);
  const targets = device.upload("targets", [N], data.targets);
  const mask = device.upload("mask", [N], data.mask);
  const state = lossState(device);
  state.set({ scale });
  let rowStart = 0;
  const list = windows.map((rows, i): RowWindow => {
    const part = (all: Float32Array) => all.subarray(rowStart * C, (rowStart + rows) * C);
    const window = {
      value: device.upload(`wte${i}`, [rows, C], part(data.wte)),
      grad: device.upload(`dwte${i}`, [rows, C], part(data.dwte)),
      rowStart,
      rows,
    };
    rowStart += rows;
    return window;
  });
  const wte: ShardedParameter = { shape: [Vp, C], windows: list };
  const destroy = () => {
    for (const tensor of [x, targets, mask, state]) tensor.destroy();
    for (const { value, grad } of list) {
      value.destroy();
      grad?.destroy();
    }
  };
  return { data, scale, x, wte, inputs: { targets, mask, state }, destroy };
}

async function readWindows(device: Device, tensors: readonly Tensor[]): Promise<number[]> {
  const parts = await Promise.all(tensors.map((tensor) => device.read(tensor)));
  return parts.flatMap((part) => [...part]);
}

const SHAPES: readonly Shape[] = [
  { N: 1, C: 4, V: 8, windows: [8] },
  { N: 150, C: 5, V: 1001, windows: [400, 404, 197], chunkRows: 64 },
  { N: 3, C: 8, V: 4500, windows: [4501, 35] }, // more than one block of rows, and padding
  { N: 130, C: 64, V: 500, windows: [256, 256, 64], chunkRows: 64 }, // 76 padded rows
];

for (const subgroups of [true, false]) {
  for (const shape of subgroups ? SHAPES : SHAPES.slice(1, 2)) {
    const { N, C, V, windows, chunkRows } = shape;
    const kind = subgroups ? "" : " without subgroups";
    const name = `(${N}, ${C}) x (${V}, ${C}) in ${windows.length} windows${kind}`;

    gpuTest(`lmHeadLoss() matches the reference at ${name}`, async (device) => {
      const f = fixture(device, shape);
      const plan = new Plan(device, { label: "head", training: true });
      plan.variable(f.x);
      const options = { ...f.inputs, V, ...(chunkRows ? { chunkRows } : {}) };
      const { losses } = lmHeadLoss(plan, f.x, f, options);
      const mean = plan.keep(meanLoss(plan, losses, f.inputs.state));
      const dx = plan.keep(plan.gradient(f.x)!);
      plan.keep(losses);
      await plan.seal();
      for (const tensor of [losses, dx, mean]) poison(device, tensor);
      plan.replay();

      const wte = f.data.wte.subarray(0, V * C);
      const logits = matmulNt(f.data.x, wte, { M: N, N: V, K: C });
      const entropy = crossEntropy(logits, f.data.targets, {
        N,
        V,
        Vp: V,
        mask: f.data.mask,
        scale: f.scale,
      });
      const layout = { M: N, N: V, K: C, layout: "nk" } as const;
      const want = linearBackward(entropy.dlogits, f.data.x, wte, layout);
      const most = linearBackward(
        absolute(entropy.dlogits),
        absolute(f.data.x),
        absolute(wte),
        layout,
      );
      // The gradients inherit the softmax's error: the logits' own, and that of exp.
      const bound = (sums: Float64Array, K: number) =>
        dotBound(sums, K).map((b, i) => b + 1e-5 * sums[i]!);

      assertClose(await device.read(losses), entropy.losses, {
        ...TOLERANCE.crossEntropyLoss,
        label: "losses",
      });
      const total = entropy.losses.reduce((a, b) => a + b, 0);
      assertClose(await device.read(mean), [f.scale * total], TOLERANCE.crossEntropyLoss);
      assertClose(await device.read(dx), want.dinp, {
        bound: bound(most.dinp, V),
        label: "dx",
      });
      const before = f.data.dwte;
      const dwte = await readWindows(device, f.wte.windows.map(({ grad }) => grad!));
      assertClose(dwte.slice(0, V * C), want.dweight.map((d, i) => d + before[i]!), {
        bound: bound(most.dweight.map((d, i) => d + Math.abs(before[i]!)), N),
        label: "dwte",
      });
      assertEquals(dwte.slice(V * C), [...before.subarray(V * C)], "padded rows have no gradient");
      plan.destroy();
      f.destroy();
    }, { subgroups });
  }
}

gpuTest("lmHeadLoss() of a plan that does not train has the same losses alone", async (device) => {
  const shape = SHAPES[1]!;
  const f = fixture(device, shape);
  const results: Float32Array[] = [];
  for (const training of [true, false]) {
    const plan = new Plan(device, { label: "head", training });
    plan.variable(f.x);
    const { losses } = lmHeadLoss(plan, f.x, f, { ...f.inputs, V: shape.V, chunkRows: 64 });
    plan.keep(losses);
    if (!training) assertEquals(plan.gradient(f.x), undefined);
    await plan.seal();
    poison(device, losses);
    plan.replay();
    results.push(await device.read(losses));
    plan.destroy();
  }
  assertEquals(results[0], results[1]);
  f.destroy();
});

gpuTest(
  "lmHeadLoss() adds to a gradient that is there, and leaves frozen windows",
  async (device) => {
    const shape = SHAPES[3]!;
    const f = fixture(device, shape);
    const { V } = shape;
    const windows = f.wte.windows.map(({ value, rowStart, rows }) => ({ value, rowStart, rows }));
    const frozen = { wte: { shape: f.wte.shape, windows } };
    const gradientOf = async (times: number) => {
      const plan = new Plan(device, { label: "head", training: true });
      plan.variable(f.x);
      for (let i = 0; i < times; i++) {
        lmHeadLoss(plan, f.x, frozen, { ...f.inputs, V, chunkRows: 64 });
      }
      const dx = plan.keep(plan.gradient(f.x)!);
      await plan.seal();
      poison(device, dx);
      plan.replay();
      const result = await device.read(dx);
      plan.destroy();
      return result;
    };
    const once = await gradientOf(1);
    // Twice the sum, but for the order in which the second one is added to the first.
    const largest = once.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    assertClose(await gradientOf(2), once.map((d) => 2 * d), { atol: 1e-5 * largest });
    const dwte = await readWindows(device, f.wte.windows.map(({ grad }) => grad!));
    assertEquals(dwte, [...f.data.dwte]);
    f.destroy();
  },
);

gpuTest("lmHeadLogits() matches the reference over windows", async (device) => {
  const { N, C, V } = SHAPES[1]!;
  const f = fixture(device, SHAPES[1]!);
  const plan = new Plan(device, { label: "head" });
  const logits = plan.keep(lmHeadLogits(plan, f.x, f));
  assertEquals(logits.shape, [N, 1024]);
  await plan.seal();
  poison(device, logits);
  plan.replay();
  const all = await device.read(logits);
  const got = Array.from({ length: N }, (_, n) => [...all.subarray(n * 1024, n * 1024 + V)]).flat();
  const want = matmulNt(f.data.x, f.data.wte, { M: N, N: V, K: C });
  const most = matmulNt(absolute(f.data.x), absolute(f.data.wte), { M: N, N: V, K: C });
  assertClose(got, want, { bound: dotBound(most, C) });
  plan.destroy();
  f.destroy();
});

gpuTest("lmHeadLoss() says what does not fit", async (device) => {
  const f = fixture(device, { N: 3, C: 4, V: 16, windows: [8, 8] });
  const plan = new Plan(device, { label: "head" });
  const { shape, windows } = f.wte;
  const x = device.tensor("x", [3, 5]);
  assertThrows(
    () => lmHeadLoss(plan, x, f, f.inputs),
    RangeError,
    `Cannot record lm_head: "x" must end in C = 4: got (3, 5)`,
  );
  assertThrows(
    () => lmHeadLoss(plan, f.x, { wte: { shape, windows: windows.slice(1) } }, f.inputs),
    RangeError,
    `"wte1" (8, 4) at row 0: got row 8, 8 rows`,
  );
  assertThrows(
    () => lmHeadLoss(plan, f.x, { wte: { shape, windows: windows.slice(0, 1) } }, f.inputs),
    RangeError,
    "Cannot record lm_head: windows of all 16 rows: got 8",
  );
  assertThrows(
    () => lmHeadLoss(plan, f.x, f, { ...f.inputs, chunkRows: 100 }),
    RangeError,
    "chunkRows a multiple of 64, for aligned chunks: got 100",
  );
  assertThrows(
    () => lmHeadLoss(plan, f.x, f, { ...f.inputs, targets: windows[0]!.value }),
    RangeError,
    `"wte0" and "mask" of N = 3 rows: got 32 and 3`,
  );
  plan.destroy();
  x.destroy();
  f.destroy();
  await Promise.resolve();
});

import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { defineKernel } from "../../src/gpu/kernel.ts";
import { read, write } from "../../src/gpu/binding.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { lossState } from "../../src/ops/cross_entropy.ts";
import { BLOCK, gradNorm, meanLoss, sum, type SumOptions } from "../../src/ops/reduce.ts";
import portableSource from "../../shaders/sum_portable.wgsl" with { type: "text" };
import * as reference from "../reference/reduce.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest, poison } from "../support/gpu.ts";
import { integers, normal } from "../support/random.ts";
import { absolute, dotBound } from "../support/tolerance.ts";

/** No chain of additions is longer: a thread's share of a block, its tree, the blocks' sum. */
const LONGEST_CHAIN = BLOCK / 64 + 32;

async function gpuSum(
  device: Device,
  data: readonly Float32Array[],
  options: SumOptions = {},
): Promise<number> {
  const inps = data.map((x, i) => device.upload(`inp${i}`, [x.length], x));
  const plan = new Plan(device, { label: "sum" });
  const out = plan.keep(sum(plan, inps, options));
  await plan.seal();
  poison(device, out);
  plan.replay();
  const [result] = await device.read(out);
  plan.destroy();
  for (const inp of inps) inp.destroy();
  return result!;
}

for (const subgroups of [true, false]) {
  const kind = subgroups ? "" : " without subgroups";

  gpuTest(`sum() adds whole numbers exactly at awkward lengths${kind}`, async (device) => {
    for (const count of [1, 3, 4, 31, 129, 1757, BLOCK, BLOCK + 1, 2 * BLOCK + 6]) {
      const data = Float32Array.from(integers(count, count, 100));
      assertEquals(await gpuSum(device, [data]), reference.sum(data), `count ${count}`);
      const scaled = await gpuSum(device, [data], { scale: 0.5 });
      assertEquals(scaled, reference.sum(data) / 2, `count ${count}`);
    }
  }, { subgroups });

  gpuTest(`gradNorm() matches the reference over several tensors${kind}`, async (device) => {
    const data = [1, 5, 3 * BLOCK + 7, 64].map((count, i) => normal(i, count, 3));
    const total = data.reduce((all, x) => all + reference.sumOfSquares(x), 0);
    const inps = data.map((x, i) => device.upload(`grad${i}`, [x.length], x));
    const plan = new Plan(device, { label: "norm" });
    const norm2 = plan.keep(gradNorm(plan, inps));
    await plan.seal();
    poison(device, norm2);
    plan.replay();
    const first = await device.read(norm2);
    assertClose(first, [total], { bound: dotBound([total], LONGEST_CHAIN), label: "norm2" });
    plan.replay();
    assertEquals(await device.read(norm2), first, "the same bits on every replay");
    plan.destroy();
    for (const inp of inps) inp.destroy();
  }, { subgroups });

  gpuTest(`meanLoss() follows the state's scale between replays${kind}`, async (device) => {
    const losses = device.upload("losses", [333], Float32Array.from(integers(1, 333, 9)));
    const state = lossState(device);
    const plan = new Plan(device, { label: "mean" });
    const mean = plan.keep(meanLoss(plan, losses, state));
    const added = device.upload("added", [1], new Float32Array([3]));
    meanLoss(plan, losses, state, { into: added });
    await plan.seal();
    const total = reference.sum(await device.read(losses));
    for (const scale of [1, 0.25]) {
      state.set({ scale });
      plan.replay();
      assertEquals((await device.read(mean))[0], total * scale);
    }
    assertEquals((await device.read(added))[0], 3 + total + total * 0.25, "added on each replay");
    plan.destroy();
    added.destroy();
    state.destroy();
    losses.destroy();
  }, { subgroups });
}

gpuTest("sum() stays within the bound of its tree on values that cancel", async (device) => {
  const data = normal(7, 4 * BLOCK + 3);
  const bound = dotBound([reference.sum(absolute(data))], LONGEST_CHAIN);
  assertClose([await gpuSum(device, [data])], [reference.sum(data)], { bound });
});

gpuTest("sum() of a view ends where the view ends", async (device) => {
  const whole = device.upload("whole", [128], new Float32Array(128).fill(1));
  const plan = new Plan(device, { label: "sum" });
  const out = plan.keep(sum(plan, whole.view("part", [5], 64)));
  await plan.seal();
  plan.replay();
  assertEquals((await device.read(out))[0], 5);
  plan.destroy();
  whole.destroy();
});

gpuTest("sum() of a tensor with NaN or infinity is not finite", async (device) => {
  for (const bad of [NaN, Infinity]) {
    const data = new Float32Array(100).fill(1);
    data[77] = bad;
    assert(!Number.isFinite(await gpuSum(device, [data], { squares: true })), `${bad}`);
  }
});

gpuTest("sum_portable is right at another workgroup size", async (device) => {
  const source = defineKernel({
    label: "sum_portable",
    source: portableSource,
    file: "shaders/sum_portable.wgsl",
  });
  const count = 1000;
  const data = Float32Array.from(integers(3, count, 100));
  const inp = device.upload("inp", [count], data);
  const out = poison(device, device.tensor("out", [6]));
  const plan = new Plan(device, { label: "sum" });
  plan.dispatch(device.kernel(source, {}, { WG_SIZE: 256 }), {
    groups: [4],
    params: { count, block: 300, start: 1, flags: 0, scale: 1, pad0: 0, pad1: 0, pad2: 0 },
    bindings: [read(inp), read(device.none("read", "u32")), write(out)],
  });
  await plan.seal();
  plan.replay();
  const blocks = [0, 300, 600, 900].map((at) => reference.sum(data.subarray(at, at + 300)));
  assertEquals([...await device.read(out)], [NaN, ...blocks, NaN], "only the blocks are written");
  plan.destroy();
  inp.destroy();
  out.destroy();
});

gpuTest("sum() refuses no tensor and other types", async (device) => {
  const plan = new Plan(device, { label: "sum" });
  const ids = device.tensor("ids", [3], "u32");
  assertThrows(() => sum(plan, []), RangeError, "Cannot record sum: 1 tensor or more: got none");
  assertThrows(() => sum(plan, ids), RangeError, `Cannot record sum: "ids" of f32: got u32`);
  const into = device.tensor("into", [3]);
  assertThrows(() => sum(plan, into, { into }), RangeError, `"into" of 1 element: got 3`);
  into.destroy();
  plan.destroy();
  ids.destroy();
  await Promise.resolve();
});

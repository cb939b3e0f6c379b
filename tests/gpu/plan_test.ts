import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { grid, read, readWrite, uniform, write } from "../../src/gpu/binding.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { ActivationPool } from "../../src/gpu/pool.ts";
import type { Tensor } from "../../src/gpu/tensor.ts";
import { gpuTest } from "../support/gpu.ts";
import { ADD, MULTIPLY, SCALE, SHIFT } from "./shaders.ts";

const COUNT = 100;
const data = Float32Array.from({ length: COUNT }, (_, i) => i - 50);

/** out = factor · inp, with its backward: dinp (=|+=) factor · dout. */
function scale(plan: Plan, inp: Tensor, factor: number, label: string): Tensor {
  const out = plan.activation(label, inp.shape);
  record(plan, inp, out, factor);
  plan.onBackward(() => {
    const dout = plan.gradient(out);
    const dinp = plan.accumulate(inp);
    if (!dout || !dinp) return;
    if (!dinp.add) return record(plan, dout, dinp.tensor, factor);
    const part = plan.activation("part", inp.shape);
    record(plan, dout, part, factor);
    plan.dispatch(plan.device.kernel(ADD), {
      groups: [Math.ceil(COUNT / 64)],
      params: { count: COUNT, pad0: 0, pad1: 0, pad2: 0 },
      bindings: [read(part), readWrite(dinp.tensor)],
    });
  });
  return out;
}

/** out = inp², whose backward reads inp again: dinp = 2 · inp · dout. */
function square(plan: Plan, inp: Tensor): Tensor {
  const out = plan.activation("square", inp.shape);
  multiply(plan, inp, inp, out, 1);
  plan.onBackward(() => {
    const dout = plan.gradient(out);
    const dinp = plan.accumulate(inp);
    if (dout && dinp) multiply(plan, inp, dout, dinp.tensor, 2);
  });
  return out;
}

function multiply(plan: Plan, a: Tensor, b: Tensor, out: Tensor, factor: number): void {
  plan.dispatch(plan.device.kernel(MULTIPLY), {
    groups: [Math.ceil(COUNT / 64)],
    params: { count: COUNT, factor, pad0: 0, pad1: 0 },
    bindings: [read(a), read(b), write(out)],
  });
}

function record(plan: Plan, inp: Tensor, out: Tensor, factor: number): void {
  plan.dispatch(plan.device.kernel(SCALE), {
    groups: [Math.ceil(COUNT / 64)],
    params: { count: COUNT, factor, pad0: 0, pad1: 0 },
    bindings: [read(inp), write(out)],
  });
}

gpuTest(
  "Plan: forward and backward, first contribution stored, later ones added",
  async (device) => {
    const inp = device.upload("inp", [COUNT], data);
    const dout = device.upload("dout", [COUNT], data);
    const plan = new Plan(device, { label: "diamond", training: true });
    plan.variable(inp);
    const left = scale(plan, inp, 2, "left");
    const right = scale(plan, inp, 3, "right");
    plan.keep(left);
    plan.keep(right);
    plan.seed(left, dout);
    plan.seed(right, dout);
    plan.backward();
    const dinp = plan.keep(plan.gradient(inp))!;
    await plan.seal();
    for (let step = 0; step < 2; step++) {
      plan.replay();
      assertEquals(await device.read(left), data.map((x) => 2 * x));
      assertEquals(await device.read(right), data.map((x) => 3 * x));
      assertEquals(
        await device.read(dinp),
        data.map((x) => 5 * x),
        "not doubled by the second step",
      );
    }
    for (const owned of [plan, inp, dout]) owned.destroy();
  },
);

gpuTest("Plan: recompute() gives the same gradients with less memory", async (device) => {
  const inp = device.upload("inp", [COUNT], data);
  const dout = device.upload("dout", [COUNT], data);
  const results: { dinp: Float32Array; activationBytes: number }[] = [];
  for (const recomputed of [false, true]) {
    const plan = new Plan(device, { label: "blocks", training: true });
    plan.variable(inp);
    let x = inp;
    for (let block = 0; block < 4; block++) {
      const before = x;
      const record = () => square(plan, square(plan, scale(plan, before, 0.5, "half")));
      x = recomputed ? plan.recompute(record) : record();
    }
    plan.seed(x, dout);
    plan.backward();
    const dinp = plan.keep(plan.gradient(inp))!;
    await plan.seal();
    plan.replay();
    results.push({ dinp: await device.read(dinp), activationBytes: plan.activationBytes });
    plan.destroy();
  }
  assertEquals(results[1]!.dinp, results[0]!.dinp);
  assert(results[1]!.activationBytes < results[0]!.activationBytes);
  inp.destroy();
  dout.destroy();
});

gpuTest("Plan: activations share buffers, dispatches never read and write one", async (device) => {
  const inp = device.upload("inp", [COUNT], data);
  const plan = new Plan(device, { label: "chain" });
  let x = inp;
  for (let i = 0; i < 20; i++) x = scale(plan, x, i % 2 === 0 ? 2 : 0.5, `x${i}`);
  plan.keep(x);
  await plan.seal();
  plan.replay();
  assertEquals(await device.read(x), data);
  assertEquals(plan.activationBytes, 3 * 400, "two alternating buffers and the kept one");
  plan.destroy();
  inp.destroy();
});

gpuTest("Plan: a replay makes no buffer, bind group or pipeline", async (device) => {
  const inp = device.upload("inp", [COUNT], data);
  const plan = new Plan(device, { label: "counted" });
  const out = plan.keep(scale(plan, scale(plan, inp, 2, "a"), 2, "b"));
  await plan.seal();
  const before = { ...device.counters };
  for (let step = 0; step < 10; step++) plan.replay();
  await device.idle();
  assertEquals({ ...device.counters }, before);
  assertEquals(await device.read(out), data.map((x) => 4 * x));
  plan.destroy();
  inp.destroy();
});

gpuTest("Plan: a pool is shared by plans that do not run together", async (device) => {
  const inp = device.upload("inp", [COUNT], data);
  const pool = new ActivationPool(device);
  const plans: { plan: Plan; out: Tensor }[] = [];
  for (const factor of [2, 3]) {
    const plan = new Plan(device, { label: `times ${factor}` });
    const out = plan.keep(scale(plan, scale(plan, inp, factor, "a"), factor, "b"));
    await plan.seal(pool);
    plans.push({ plan, out });
  }
  assertEquals(pool.sizeBytes, 400);
  for (const { plan } of plans) plan.replay();
  assertEquals(await device.read(plans[0]!.out), data.map((x) => 4 * x));
  assertEquals(await device.read(plans[1]!.out), data.map((x) => 9 * x));
  for (const { plan } of plans) plan.destroy();
  pool.destroy();
  inp.destroy();
});

gpuTest("Plan: clear() and changing scalars", async (device) => {
  const inp = device.upload("inp", [4], Float32Array.of(1, 2, 3, 4));
  const sum = device.upload("sum", [4], Float32Array.of(9, 9, 9, 9));
  const step = device.uniforms("step", { value: "f32" });
  const plan = new Plan(device, { label: "clear" });
  const shifted = plan.activation("shifted", [4]);
  plan.clear(sum);
  plan.dispatch(device.kernel(SHIFT), {
    groups: [1],
    bindings: [uniform(step.tensor), read(inp), write(shifted)],
  });
  plan.dispatch(device.kernel(ADD), {
    groups: [1],
    params: { count: 4, pad0: 0, pad1: 0, pad2: 0 },
    bindings: [read(shifted), readWrite(sum)],
  });
  await plan.seal();
  for (const value of [10, 20]) {
    step.set({ value });
    plan.replay();
    assertEquals(await device.read(sum), Float32Array.of(1, 2, 3, 4).map((x) => x + value));
  }
  for (const owned of [plan, step, inp, sum]) owned.destroy();
});

/** Records one dispatch of `scale` over the given bindings and expects a refusal. */
function refused(
  device: Device,
  want: string,
  change: (inp: Tensor, out: Tensor) => {
    groups?: [number];
    params?: Record<string, number>;
    bindings?: ReturnType<typeof read>[];
  },
): void {
  const inp = device.tensor("inp", [COUNT]);
  const out = device.tensor("out", [COUNT]);
  const plan = new Plan(device, { label: "misuse" });
  const options = {
    groups: [2] as [number],
    params: { count: COUNT, factor: 1, pad0: 0, pad1: 0 },
    bindings: [read(inp), write(out)],
    ...change(inp, out),
  };
  assertThrows(() => plan.dispatch(device.kernel(SCALE), options), RangeError, want);
  for (const owned of [plan, inp, out]) owned.destroy();
}

gpuTest("Plan: misuse of a dispatch names the op, the tensor, the want and the state", (device) => {
  const ids = device.tensor("ids", [4], "u32");
  refused(device, "Cannot record scale: bindings inp, out: got 1", (inp) => ({
    bindings: [read(inp)],
  }));
  refused(device, `"inp" (tensor "inp") bound as read: got write`, (inp, out) => ({
    bindings: [write(inp), write(out)],
  }));
  refused(device, `"inp" (tensor "ids") of f32: got u32`, (_, out) => ({
    bindings: [read(ids), write(out)],
  }));
  refused(device, `"out" (tensor "inp") bound once where it is written: also as read`, (inp) => ({
    bindings: [read(inp), write(inp)],
  }));
  refused(device, `"inp" (tensor "inp") live: it was released`, (inp, out) => {
    inp.destroy();
    return { bindings: [read(inp), write(out)] };
  });
  refused(device, `params count, factor, pad0, pad1: no "count"`, () => ({
    params: { factor: 1, pad0: 0, pad1: 0 },
  }));
  refused(device, `got "size" too`, () => ({
    params: { count: 1, factor: 1, pad0: 0, pad1: 0, size: 1 },
  }));
  refused(device, `Cannot set "count": a u32: got -1`, () => ({
    params: { count: -1, factor: 1, pad0: 0, pad1: 0 },
  }));
  refused(device, "1 to 65535 workgroups a dimension: got (70000, 1, 1)", () => ({
    groups: [70_000],
  }));
  ids.destroy();
  return Promise.resolve();
});

gpuTest("Plan: sealing finds aliases and values that nobody wrote", async (device) => {
  const whole = device.tensor("whole", [256]);
  const alias = new Plan(device, { label: "alias" });
  alias.dispatch(device.kernel(SCALE), {
    groups: [1],
    params: { count: 64, factor: 1, pad0: 0, pad1: 0 },
    bindings: [read(whole.view("low", [64])), write(whole.view("high", [64], 64))],
  });
  await assertRejects(
    () => alias.seal(),
    RangeError,
    `scale with no buffer both read and written: "low" and "high" share one`,
  );
  const unwritten = new Plan(device, { label: "unwritten" });
  scale(unwritten, unwritten.activation("x", [COUNT]), 1, "y");
  await assertRejects(() => unwritten.seal(), Error, `"x" written before scale reads it`);
  for (const owned of [alias, unwritten, whole]) owned.destroy();
});

gpuTest("Plan: a plan runs only when sealed, alive and with live tensors", async (device) => {
  const inp = device.upload("inp", [COUNT], data);
  const plan = new Plan(device, { label: "life" });
  const out = scale(plan, inp, 1, "out");
  assertThrows(() => plan.replay(), Error, `Cannot run plan "life": a sealed plan: recording`);
  assertThrows(() => out.storage, Error, "its plan is not sealed yet");
  await plan.seal();
  assertThrows(() => scale(plan, inp, 1, "late"), Error, "a plan being recorded: sealed");
  inp.destroy();
  assertThrows(() => plan.replay(), Error, `"inp" live: it was released`);
  plan.destroy();
  assertThrows(() => plan.replay(), Error, "a sealed plan: destroyed");
});

gpuTest("Plan: adopt() hands a gradient over once, and only one the plan owns", (device) => {
  const given = device.tensor("given", [4]);
  const plan = new Plan(device, { label: "adopt", training: true });
  const [a, b] = [plan.activation("a", [4]), plan.activation("b", [4])];
  assertEquals(plan.adopt(a, given), false, "a tensor of somebody else is not added into");
  const gradient = plan.activation("gradient", [4]);
  assertEquals(plan.adopt(a, gradient), true);
  assertEquals(plan.accumulate(a), { tensor: gradient, add: true });
  assertEquals(plan.adopt(b, gradient), false, "adopted already");
  assertEquals(plan.adopt(given, gradient), true, "wants no gradient");
  plan.destroy();
  given.destroy();
  return Promise.resolve();
});

Deno.test("grid() folds any number of workgroups under the limit", () => {
  for (const groups of [1, 65_535, 65_536, 1_000_003]) {
    const [x, y, z] = grid(groups);
    assert(x <= 65_535 && y <= 65_535 && z === 1 && x * y >= groups);
  }
});

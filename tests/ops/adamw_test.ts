import { assertEquals, assertThrows } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { Plan } from "../../src/gpu/plan.ts";
import type { Tensor } from "../../src/gpu/tensor.ts";
import { adamw, type AdamwRange, adamwState, adamwStep } from "../../src/ops/adamw.ts";
import { gradNorm } from "../../src/ops/reduce.ts";
import * as reference from "../reference/adamw.ts";
import { assertClose } from "../support/close.ts";
import { gpuTest } from "../support/gpu.ts";
import { normal } from "../support/random.ts";
import { TOLERANCE } from "../support/tolerance.ts";

interface Fixture {
  ranges: (AdamwRange & { decayed: number })[];
  state: ReturnType<typeof adamwState>;
  skipped: Tensor;
  norm2: Tensor;
  plan: Plan;
  destroy(): void;
}

/** A plan of norm and update over ranges of [count, decayed] elements. */
async function fixture(device: Device, sizes: readonly [number, number][]): Promise<Fixture> {
  const ranges = sizes.map(([count, decayed], i) => ({
    value: device.upload(`value${i}`, [count], normal(10 + i, count)),
    grad: device.tensor(`grad${i}`, [count]),
    m: device.tensor(`m${i}`, [count]),
    v: device.tensor(`v${i}`, [count]),
    decayed,
  }));
  const state = adamwState(device);
  const skipped = device.tensor("skipped", [1], "u32");
  const plan = new Plan(device, { label: "update" });
  const norm2 = plan.keep(gradNorm(plan, ranges.map(({ grad }) => grad)));
  adamw(plan, ranges, { state, norm2, skipped });
  await plan.seal();
  return {
    ranges,
    state,
    skipped,
    norm2,
    plan,
    destroy() {
      plan.destroy();
      state.destroy();
      skipped.destroy();
      for (const { value, grad, m, v } of ranges) {
        for (const tensor of [value, grad, m, v]) tensor.destroy();
      }
    },
  };
}

for (const maxNorm of [undefined, 1]) {
  const clip = maxNorm === undefined ? "without clipping" : `clipped to ${maxNorm}`;
  gpuTest(`adamw() matches the reference over 4 steps, ${clip}`, async (device) => {
    // One vector, a boundary inside, more than a workgroup's share, no decay at all.
    const f = await fixture(device, [[4, 4], [12, 8], [4 * 64 * 16 + 132, 1028], [64, 0]]);
    const twins = await Promise.all(f.ranges.map(async ({ value, m, v }) => ({
      param: Float64Array.from(await device.read(value)),
      m: Float64Array.from(await device.read(m)),
      v: Float64Array.from(await device.read(v)),
    })));
    for (let step = 1; step <= 4; step++) {
      const lr = 0.01 / step;
      const grads = f.ranges.map(({ grad }, i) => normal(100 * step + i, grad.count, 0.1));
      f.ranges.forEach(({ grad }, i) => device.write(grad, grads[i]!));
      f.state.set(adamwStep({ lr, decay: 0.1, step, ...(maxNorm ? { maxNorm } : {}) }));
      f.plan.replay();
      const norm = reference.globalNorm(grads);
      const gradScale = maxNorm ? reference.clipCoefficient(norm, maxNorm) : 1;
      f.ranges.forEach(({ decayed }, i) => {
        const part = (weightDecay: number, from: number, to?: number) =>
          reference.adamwStep(
            {
              param: twins[i]!.param.subarray(from, to),
              m: twins[i]!.m.subarray(from, to),
              v: twins[i]!.v.subarray(from, to),
            },
            grads[i]!.subarray(from, to),
            { lr, weightDecay, step, gradScale },
          );
        for (
          const [from, next] of [[0, part(0.1, 0, decayed)], [decayed, part(0, decayed)]] as const
        ) {
          twins[i]!.param.set(next.param, from);
          twins[i]!.m.set(next.m, from);
          twins[i]!.v.set(next.v, from);
        }
      });
    }
    for (const [i, { value, m, v }] of f.ranges.entries()) {
      const { param, ...twin } = twins[i]!;
      const label = (name: string) => ({ label: `${name}${i}` });
      assertClose(await device.read(value), param, { ...TOLERANCE.adamw, ...label("value") });
      assertClose(await device.read(m), twin.m, { ...TOLERANCE.adamw, ...label("m") });
      assertClose(await device.read(v), twin.v, { ...TOLERANCE.adamwSecondMoment, ...label("v") });
    }
    assertEquals([...await device.readU32(f.skipped)], [0]);
    f.destroy();
  });
}

gpuTest("adamw() skips and counts a step whose norm is not finite", async (device) => {
  const f = await fixture(device, [[8, 4], [200, 0]]);
  const read = async () => {
    const all = f.ranges.flatMap(({ value, m, v }) => [value, m, v]);
    return await Promise.all(all.map((tensor) => device.read(tensor)));
  };
  f.state.set(adamwStep({ lr: 0.1, decay: 0.1, maxNorm: 1, step: 1 }));
  const before = await read();
  // 1e30 is finite, its square is not.
  for (const [index, bad] of [NaN, Infinity, -Infinity, 1e30].entries()) {
    device.write(f.ranges[1]!.grad, new Float32Array([bad]), 133);
    f.plan.replay();
    assertEquals([...await device.readU32(f.skipped)], [index + 1]);
    assertEquals(await read(), before, `unchanged by ${bad}`);
  }
  device.write(f.ranges[1]!.grad, new Float32Array(200));
  f.plan.replay();
  assertEquals([...await device.readU32(f.skipped)], [4], "a finite step is not counted");
  const after = await read();
  // A zero gradient leaves nothing but decay: the elements before the boundary.
  const decayed = before[0]!.map((x, i) => i < 4 ? Math.fround(x * (1 - 0.01)) : x);
  assertClose(after[0]!, decayed, TOLERANCE.adamw);
  assertEquals(after[3], before[3]);
  f.destroy();
});

Deno.test("adamwStep() keeps the digits of 1 - beta^step", () => {
  const step = adamwStep({ lr: 1e-3, beta1: 0.9, beta2: 0.999, decay: 0.1, maxNorm: 1, step: 1 });
  assertClose(step.stepSize, 1e-2, { rtol: 1e-12 });
  assertClose(step.rsqrtC2, 1 / Math.sqrt(1e-3), { rtol: 1e-12 });
  assertClose(step.shrink, 1e-4, { rtol: 1e-12 });
});

Deno.test("adamwStep() refuses values out of range", () => {
  const good = { lr: 1e-3, step: 1 };
  assertThrows(() => adamwStep({ ...good, lr: NaN }), RangeError, "lr of 0 or more: got NaN");
  assertThrows(() => adamwStep({ ...good, beta1: 1 }), RangeError, "beta1 in [0, 1): got 1");
  assertThrows(() => adamwStep({ ...good, beta2: -0.1 }), RangeError, "beta2 in [0, 1)");
  assertThrows(() => adamwStep({ ...good, eps: 0 }), RangeError, "eps above 0: got 0");
  assertThrows(() => adamwStep({ ...good, decay: -1 }), RangeError, "decay of 0 or more");
  assertThrows(() => adamwStep({ ...good, maxNorm: 0 }), RangeError, "maxNorm above 0");
  assertThrows(() => adamwStep({ ...good, step: 0 }), RangeError, "step a whole number from 1");
});

gpuTest("adamw() says which tensor does not fit", async (device) => {
  const value = device.tensor("value", [12]);
  const short = device.tensor("short", [8]);
  const odd = device.tensor("odd", [5]);
  const skipped = device.tensor("skipped", [1], "u32");
  const norm2 = device.tensor("norm2", [1]);
  const state = adamwState(device);
  const plan = new Plan(device, { label: "update" });
  const options = { state, norm2, skipped };
  assertThrows(
    () => adamw(plan, [{ value, grad: value, m: short, v: value }], options),
    RangeError,
    `Cannot record adamw: "short" of 12 elements, as "value": got 8`,
  );
  assertThrows(
    () => adamw(plan, [{ value: odd, grad: odd, m: odd, v: odd }], options),
    RangeError,
    `Cannot record adamw: "odd" of whole vec4s, as arenas are: got 5 elements`,
  );
  assertThrows(
    () => adamw(plan, [{ value, grad: value, m: value, v: value, decayed: 6 }], options),
    RangeError,
    `Cannot record adamw: decayed a multiple of 4 up to 12 in "value": got 6`,
  );
  plan.destroy();
  for (const tensor of [value, short, odd, skipped, norm2, state]) tensor.destroy();
  await Promise.resolve();
});

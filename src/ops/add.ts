/**
 * The sum of two tensors, as on a residual path.
 *
 * @module
 */
import { defineKernel } from "../gpu/kernel.ts";
import { read, readWrite, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import source from "../../shaders/add.wgsl" with { type: "text" };
import { assertSameShape, cover } from "./elementwise.ts";

const ADD = defineKernel({ label: "add", source, file: "shaders/add.wgsl" });

/**
 * Record out = a + b, and its backward: each takes over the gradient of the sum, the second a copy.
 *
 * @param a Any shape.
 * @param b The same shape.
 * @throws {RangeError} When shapes differ.
 */
export function add(plan: Plan, a: Tensor, b: Tensor): Tensor {
  const { device } = plan;
  assertSameShape("add", a, b);
  const out = plan.activation("sum", a.shape);
  const { groups, params } = cover(device, a.count);
  plan.dispatch(device.kernel(ADD, { MODE: 0 }), {
    groups,
    params: { ...params, pad0: 0, pad1: 0 },
    bindings: [read(a), read(b), write(out)],
  });
  plan.onBackward(() => {
    const dout = plan.gradient(out);
    if (!dout) return;
    // The copy first: what is taken over may be added to in place from then on.
    copyGradient(plan, b, dout);
    passGradient(plan, a, dout);
  });
  return out;
}

/** Let `inp` take over a gradient, or add it to the one that it has. */
export function passGradient(plan: Plan, inp: Tensor, dout: Tensor): void {
  if (!plan.adopt(inp, dout)) copyGradient(plan, inp, dout);
}

function copyGradient(plan: Plan, inp: Tensor, dout: Tensor): void {
  const { device } = plan;
  const to = plan.accumulate(inp);
  if (!to) return;
  const { groups, params } = cover(device, inp.count);
  plan.dispatch(device.kernel(ADD, { MODE: to.add ? 2 : 1 }), {
    groups,
    params: { ...params, pad0: 0, pad1: 0 },
    bindings: [
      read(dout),
      read(device.none("read")),
      to.add ? readWrite(to.tensor) : write(to.tensor),
    ],
  });
}

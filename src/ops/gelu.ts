/**
 * GELU, alone and as the low-level gradient that a linear layer with a fused activation calls.
 *
 * @module
 */
import { defineKernel } from "../gpu/kernel.ts";
import { read, readWrite, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import backwardSource from "../../shaders/gelu_backward.wgsl" with { type: "text" };
import forwardSource from "../../shaders/gelu_forward.wgsl" with { type: "text" };
import formula from "../../shaders/gelu.wgsl" with { type: "text" };
import { assertSameShape, cover } from "./elementwise.ts";

const includes = { "gelu.wgsl": formula };

const GELU_FORWARD = defineKernel({
  label: "gelu_forward",
  source: forwardSource,
  file: "shaders/gelu_forward.wgsl",
  includes,
});
const GELU_BACKWARD = defineKernel({
  label: "gelu_backward",
  source: backwardSource,
  file: "shaders/gelu_backward.wgsl",
  includes,
});

/** The tanh form of GPT-1 and GPT-2, or the exact form. */
export type GeluKind = "tanh" | "erf";

/** Options of {@linkcode gelu}. */
export interface GeluOptions {
  /** Which form. @default "tanh" */
  kind?: GeluKind;
}

/**
 * Record out = gelu(inp), and its backward.
 *
 * Source: D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units", 2016, section 2.
 *
 * @param inp Any shape.
 */
export function gelu(plan: Plan, inp: Tensor, { kind = "tanh" }: GeluOptions = {}): Tensor {
  const { device } = plan;
  const out = plan.activation("gelu", inp.shape);
  const { groups, params } = cover(device, inp.count);
  plan.dispatch(device.kernel(GELU_FORWARD, { KIND: KIND[kind] }), {
    groups,
    params: { ...params, pad0: 0, pad1: 0 },
    bindings: [read(inp), write(out)],
  });
  plan.onBackward(() => {
    const dout = plan.gradient(out);
    const to = dout && plan.accumulate(inp);
    if (to) geluBackward(plan, inp, dout, { kind, dinp: to.tensor, add: to.add });
  });
  return out;
}

/** Where {@linkcode geluBackward} writes. */
export interface GeluBackwardOptions {
  /** The form that the forward took. */
  kind: GeluKind;
  /** Of the shape of inp. */
  dinp: Tensor;
  /** dinp += instead of =. */
  add: boolean;
}

/**
 * Record dinp (=|+=) dout gelu'(inp), for ops with a fused activation.
 *
 * @throws {RangeError} When shapes differ.
 */
export function geluBackward(
  plan: Plan,
  inp: Tensor,
  dout: Tensor,
  { kind, dinp, add }: GeluBackwardOptions,
): void {
  assertSameShape("gelu_backward", inp, dout);
  assertSameShape("gelu_backward", inp, dinp);
  recordBackward(plan, inp, dout, dinp, { KIND: KIND[kind], MODE: add ? 1 : 0 });
}

/**
 * Record dout *= gelu'(inp): a gradient that nothing else reads becomes that of the
 * pre-activation where it is.
 *
 * @throws {RangeError} When shapes differ.
 */
export function geluBackwardInPlace(
  plan: Plan,
  inp: Tensor,
  dout: Tensor,
  { kind }: { kind: GeluKind },
): void {
  assertSameShape("gelu_backward", inp, dout);
  recordBackward(plan, inp, plan.device.none("read"), dout, { KIND: KIND[kind], MODE: 2 });
}

/** The shader's KIND. */
const KIND = { tanh: 0, erf: 1 } as const;

function recordBackward(
  plan: Plan,
  inp: Tensor,
  dout: Tensor,
  dinp: Tensor,
  tune: { KIND: number; MODE: number },
): void {
  const { device } = plan;
  const { groups, params } = cover(device, inp.count);
  plan.dispatch(device.kernel(GELU_BACKWARD, tune), {
    groups,
    params: { ...params, pad0: 0, pad1: 0 },
    bindings: [read(inp), read(dout), tune.MODE === 0 ? write(dinp) : readWrite(dinp)],
  });
}

/**
 * Dropout, alone or fused with the residual sum behind it; masks come from counters and are never
 * stored.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import type { Uniforms } from "../gpu/uniforms.ts";
import { defineKernel } from "../gpu/kernel.ts";
import { read, readWrite, uniform, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import philox from "../../shaders/philox.wgsl" with { type: "text" };
import source from "../../shaders/dropout.wgsl" with { type: "text" };
import { add, passGradient } from "./add.ts";
import { assertSameShape, cover } from "./elementwise.ts";

const DROPOUT = defineKernel({
  label: "dropout",
  source,
  file: "shaders/dropout.wgsl",
  includes: { "philox.wgsl": philox },
});

/** Fields of {@linkcode DropoutState}, in the order of the WGSL struct. */
export const DROPOUT_FIELDS = {
  seed_lo: "u32",
  seed_hi: "u32",
  step: "u32",
  micro: "u32",
} as const;

/**
 * What the masks of a replay are drawn from: the seed is the Philox key, optimiser step and
 * micro-batch are counter words. Nothing else changes a mask, so a resumed run draws the same ones.
 */
export type DropoutState = Uniforms<typeof DROPOUT_FIELDS>;

/** A dropout state of zeros; who asks for it destroys it. */
export function dropoutState(device: Device, label = "dropout"): DropoutState {
  const state = device.uniforms(label, DROPOUT_FIELDS);
  state.set({ seed_lo: 0, seed_hi: 0, step: 0, micro: 0 });
  return state;
}

/** Options of {@linkcode dropout}. */
export interface DropoutOptions {
  /** Probability to drop, in [0, 1). */
  rate: number;
  /** Names the place in the model: equal sites draw equal masks. Unsigned 32-bit. */
  site: number;
  /** Seed and step of the masks. */
  state: DropoutState;
  /**
   * Elements after which the mask begins again, a multiple of 4: rows so far apart share one.
   *
   * @default all elements
   */
  period?: number;
}

/** 1 / (1 - rate), what kept values are multiplied by. @throws {RangeError} outside [0, 1) */
export function keptScale(rate: number): number {
  if (!(rate >= 0 && rate < 1)) {
    throw new RangeError(`Cannot record dropout: "rate" in [0, 1): got ${rate}`);
  }
  return 1 / (1 - rate);
}

/**
 * Record out = inp * mask, mask 1 / (1 - rate) or 0, and its backward; inp itself at rate 0.
 * Element i is kept when word i % 4 of philox((i / 4, site, step, micro), seed), as a uniform of 24
 * bits, is at least rate; i is counted anew from each multiple of the period.
 *
 * Source: N. Srivastava et al., "Dropout", JMLR 15, 2014, in the inverted form.
 *
 * @param inp Any shape.
 * @throws {RangeError} When rate is outside [0, 1), or the period is no multiple of 4.
 */
export function dropout(plan: Plan, inp: Tensor, options: DropoutOptions): Tensor {
  keptScale(options.rate);
  if (options.rate === 0) return inp;
  const out = plan.activation("dropout", inp.shape);
  record(plan, inp, out, { mode: MODE.set, ...options });
  plan.onBackward(() => {
    const dout = plan.gradient(out);
    if (dout) recordBackward(plan, inp, dout, options);
  });
  return out;
}

/**
 * Record out = residual + dropout(inp) in one pass, and its backward; the plain sum at rate 0.
 *
 * @param residual Any shape; its gradient takes over that of the sum where it can.
 * @param inp The same shape.
 * @throws {RangeError} When shapes differ or rate is outside [0, 1).
 */
export function addDropout(
  plan: Plan,
  residual: Tensor,
  inp: Tensor,
  options: DropoutOptions,
): Tensor {
  assertSameShape("addDropout", residual, inp);
  keptScale(options.rate);
  if (options.rate === 0) return add(plan, residual, inp);
  const out = plan.activation("sum", inp.shape);
  record(plan, inp, out, { mode: MODE.residual, residual, ...options });
  plan.onBackward(() => {
    const dout = plan.gradient(out);
    if (!dout) return;
    recordBackward(plan, inp, dout, options);
    passGradient(plan, residual, dout); // last: from here on it may be added to in place
  });
  return out;
}

/** The shader's MODE. */
const MODE = { set: 0, add: 1, residual: 2 } as const;

function recordBackward(plan: Plan, inp: Tensor, dout: Tensor, options: DropoutOptions): void {
  const to = plan.accumulate(inp);
  if (to) record(plan, dout, to.tensor, { mode: to.add ? MODE.add : MODE.set, ...options });
}

function record(
  plan: Plan,
  inp: Tensor,
  out: Tensor,
  options: DropoutOptions & { mode: 0 | 1 | 2; residual?: Tensor },
): void {
  const { device } = plan;
  const { mode, residual, rate, site, state, period } = options;
  if (period !== undefined && !(Number.isInteger(period) && period > 0 && period % 4 === 0)) {
    throw new RangeError(`Cannot record dropout: "period" a multiple of 4: got ${period}`);
  }
  const { groups, params } = cover(device, inp.count);
  plan.dispatch(device.kernel(DROPOUT, { MODE: mode }), {
    groups,
    params: {
      ...params,
      site,
      rate,
      scale: keptScale(rate),
      period: period === undefined ? params.vectors : period / 4,
      pad1: 0,
      pad2: 0,
    },
    bindings: [
      uniform(state.tensor),
      read(inp),
      read(residual ?? device.none("read")),
      mode === MODE.add ? readWrite(out) : write(out),
    ],
    work: { bytes: (mode === MODE.set ? 2 : 3) * inp.sizeBytes },
  });
}

/**
 * Softmax cross-entropy, fused with its gradient.
 *
 * @module
 */
import type { Device, Uniforms } from "../gpu/device.ts";
import { defineKernel } from "../gpu/kernel.ts";
import { grid, type Plan, read, readWrite, uniform, write } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import portableSource from "../../shaders/cross_entropy_portable.wgsl" with { type: "text" };
import source from "../../shaders/cross_entropy.wgsl" with { type: "text" };

const CROSS_ENTROPY = defineKernel({
  label: "cross_entropy",
  source,
  file: "shaders/cross_entropy.wgsl",
});
const CROSS_ENTROPY_PORTABLE = defineKernel({
  label: "cross_entropy_portable",
  source: portableSource,
  file: "shaders/cross_entropy_portable.wgsl",
});

/** Up to this many columns a tree over more threads costs more than it saves. */
const SMALL_V = 1024;

/** Fields of {@linkcode LossState}. */
export const LOSS_FIELDS = { scale: "f32" } as const;

/** What a loss takes anew on every step: `scale` = coefficient / unmasked tokens of the step. */
export type LossState = Uniforms<typeof LOSS_FIELDS>;

/** A loss state with scale 1; who asks for it destroys it. */
export function lossState(device: Device, label = "loss"): LossState {
  const state = device.uniforms(label, LOSS_FIELDS);
  state.set({ scale: 1 });
  return state;
}

/** What the loss of each row is computed from; the same tensors serve all chunks of a batch. */
export interface LossInputs {
  /** (N) u32. Below V where the mask is not 0; where it is, never looked at. */
  targets: Tensor;
  /** (N) f32: weight of each row, 0 for those that do not count. */
  mask: Tensor;
  /** Coefficient over the unmasked tokens of the step. */
  state: LossState;
}

/** Options of {@linkcode crossEntropy}. */
export interface CrossEntropyOptions extends LossInputs {
  /** (N) f32, where the losses go. @default an activation */
  losses?: Tensor;
  /** Live columns; those after it are padding. @default all */
  V?: number;
  /** Row of targets, mask and losses that belongs to the first row of the logits. @default 0 */
  start?: number;
  /** Overwrite the logits with their gradient. @default whether the plan is for training */
  gradient?: boolean;
}

/**
 * Record losses[n] = mask[n] (logsumexp(logits[n, :V]) - logits[n, target]) and, where asked for,
 * the gradient of scale * sum of losses, **in place**: the logits become their own gradient, which
 * the backward of the op that made them finds. Nothing else may read the logits afterwards.
 *
 * @param logits (rows, ld)
 * @returns losses (N)
 * @throws {RangeError} When shapes or types do not fit.
 */
export function crossEntropy(plan: Plan, logits: Tensor, options: CrossEntropyOptions): Tensor {
  const { device } = plan;
  const ld = logits.shape.at(-1)!;
  const rows = logits.count / ld;
  const { targets, mask, state, V = ld, start = 0, gradient = plan.training } = options;
  const want = (what: string, got: string) =>
    new RangeError(`Cannot record cross_entropy: ${what}: got ${got}`);
  if (!(Number.isInteger(V) && V >= 1 && V <= ld)) {
    throw want(`V from 1 to the ${ld} columns of "${logits.label}"`, `${V}`);
  }
  if (gradient && plan.gradient(logits)) {
    throw want(`"${logits.label}" read by one loss only`, "a second one");
  }
  const losses = options.losses ?? plan.activation("losses", [start + rows]);
  for (const tensor of [targets, mask, losses]) {
    if (tensor.count < start + rows) {
      throw want(`"${tensor.label}" of at least ${start} + ${rows} rows`, `${tensor.count}`);
    }
  }
  const subgroups = device.lanes > 0 && ld % 4 === 0;
  const GRADIENT = gradient ? 1 : 0;
  const kernel = subgroups
    ? device.kernel(CROSS_ENTROPY, { LANES: device.lanes, GRADIENT })
    : device.kernel(CROSS_ENTROPY_PORTABLE, { GRADIENT }, { WG_SIZE: V <= SMALL_V ? 32 : 128 });
  plan.dispatch(kernel, {
    groups: grid(rows),
    params: { rows, V, ld, start },
    bindings: [
      uniform(state.tensor),
      read(targets),
      read(mask),
      readWrite(logits),
      // A later chunk writes its own rows; the earlier chunks' losses stay.
      start > 0 && options.losses ? readWrite(losses) : write(losses),
    ],
    work: { flops: 8 * rows * V, bytes: (1 + GRADIENT) * logits.sizeBytes },
  });
  if (gradient && plan.training) plan.seed(logits, logits);
  return losses;
}

/**
 * Softmax cross-entropy, fused with its gradient.
 *
 * @module
 */
import type { Kernel } from "../gpu/compiler.ts";
import type { Device } from "../gpu/device.ts";
import type { Uniforms } from "../gpu/uniforms.ts";
import { defineKernel } from "../gpu/kernel.ts";
import { grid, read, readWrite, uniform, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import portableSource from "../../shaders/cross_entropy_portable.wgsl" with { type: "text" };
import source from "../../shaders/cross_entropy.wgsl" with { type: "text" };
import columns from "../../shaders/columns.wgsl" with { type: "text" };
import wideSource from "../../shaders/cross_entropy_wide.wgsl" with { type: "text" };

const includes = { "columns.wgsl": columns };
const CROSS_ENTROPY = defineKernel({
  label: "cross_entropy",
  source,
  file: "shaders/cross_entropy.wgsl",
  includes,
});
const CROSS_ENTROPY_PORTABLE = defineKernel({
  label: "cross_entropy_portable",
  source: portableSource,
  file: "shaders/cross_entropy_portable.wgsl",
});
const CROSS_ENTROPY_WIDE = defineKernel({
  label: "cross_entropy_wide",
  source: wideSource,
  file: "shaders/cross_entropy_wide.wgsl",
  includes,
});

/** The most threads that share a row: an H200 moved the most with 512 and 1,024. */
const MOST_THREADS = 1024;
/** Vectors of 4 a thread that fewer threads are not worth: rows are too few to fill a GPU. */
const FEW_VECTORS = 4;
/**
 * Vectors of 4 that a thread may hold: of 64 registers that a GPU has for each of 1,024 threads.
 */
const MOST_HELD = 13;
/** Vectors of 4 that a thread loads together where the row does not fit its registers. */
const STREAMED = 8;

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
  const GRADIENT = gradient ? 1 : 0;
  plan.dispatch(pick(device, V, ld, GRADIENT), {
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

/** The kernel of a row: a subgroup on a processor, up to a whole core of a GPU. */
function pick(device: Device, V: number, ld: number, GRADIENT: 0 | 1): Kernel {
  const { lanes: LANES } = device;
  if (LANES === 0 || ld % 4 !== 0) {
    const WG_SIZE = V <= SMALL_V ? 32 : 128;
    return device.kernel(CROSS_ENTROPY_PORTABLE, { GRADIENT }, { WG_SIZE });
  }
  if (device.tuning === "processor" || !device.evenSubgroups) {
    return device.kernel(CROSS_ENTROPY, { LANES, GRADIENT });
  }
  const most = Math.max(LANES, Math.min(MOST_THREADS, device.mostThreads));
  let WG_SIZE = LANES;
  while (WG_SIZE < most && WG_SIZE * FEW_VECTORS < ld / 4) WG_SIZE *= 2;
  const vectors = Math.ceil(ld / 4 / WG_SIZE);
  const HELD = vectors <= MOST_HELD ? 1 : 0;
  const UNROLL = HELD ? vectors : STREAMED;
  return device.kernel(CROSS_ENTROPY_WIDE, { LANES, WG_SIZE, GRADIENT, HELD, UNROLL });
}

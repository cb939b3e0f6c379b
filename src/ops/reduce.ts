/**
 * Sums by a fixed tree: of a vector, of its squares over several tensors, and the mean loss.
 *
 * @module
 */
import { defineKernel } from "../gpu/kernel.ts";
import { grid, read, readWrite, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import portableSource from "../../shaders/sum_portable.wgsl" with { type: "text" };
import source from "../../shaders/sum.wgsl" with { type: "text" };
import type { LossState } from "./cross_entropy.ts";

const SUM = defineKernel({ label: "sum", source, file: "shaders/sum.wgsl" });
const SUM_PORTABLE = defineKernel({
  label: "sum_portable",
  source: portableSource,
  file: "shaders/sum_portable.wgsl",
});

/** Elements of a partial sum: the same for every tensor, so that a sum's order is fixed. */
export const BLOCK = 16_384;

/** Options of {@linkcode sum}. */
export interface SumOptions {
  /** Sum x^2 instead of x. @default false */
  squares?: boolean;
  /** Multiplies the sum. @default 1 */
  scale?: number;
  /** Multiplies the sum too; the first field of a uniform block, read on every replay. */
  factor?: Tensor;
  /** (1), where the sum is added. @default an activation, where it is stored */
  into?: Tensor;
}

/** Bits of the shader's flags. */
const SQUARES = 1;
const FACTOR = 2;
const ADD = 4;

/**
 * Record the sum of all elements of one tensor, or of several together.
 *
 * @returns (1)
 * @throws {RangeError} When there is no tensor, one is not f32, or `into` is not one element.
 */
export function sum(plan: Plan, inp: Tensor | readonly Tensor[], options: SumOptions = {}): Tensor {
  const { squares = false, scale = 1, factor, into } = options;
  const list: readonly Tensor[] = Array.isArray(inp) ? inp : [inp as Tensor];
  if (list.length === 0) throw new RangeError("Cannot record sum: 1 tensor or more: got none");
  for (const { label, dtype } of list) {
    if (dtype !== "f32") throw new RangeError(`Cannot record sum: "${label}" of f32: got ${dtype}`);
  }
  if (into && into.count !== 1) {
    throw new RangeError(`Cannot record sum: "${into.label}" of 1 element: got ${into.count}`);
  }
  const out = into ?? plan.activation("sum", [1]);
  const blocks = list.map(({ count }) => Math.ceil(count / BLOCK));
  const total = blocks.reduce((a, b) => a + b, 0);
  const first = squares ? SQUARES : 0;
  const end = (factor ? FACTOR : 0) | (into ? ADD : 0);
  const last = { start: 0, scale, factor };
  if (total === 1) {
    recordSum(plan, list[0]!, out, { ...last, block: BLOCK, flags: first | end });
    return out;
  }
  const partial = plan.activation("partial", [total]);
  let start = 0;
  list.forEach((tensor, index) => {
    recordSum(plan, tensor, partial, { block: BLOCK, start, flags: first, scale: 1 });
    start += blocks[index]!;
  });
  recordSum(plan, partial, out, { ...last, block: Math.ceil(total / 4) * 4, flags: end });
  return out;
}

/**
 * Record the squared L2 norm of all gradients together, for clipping by the global norm.
 *
 * @param grads The gradient tensors or whole arenas; each element in one of them only.
 * @returns norm2 (1), an activation of the plan: {@linkcode Plan.keep} it to read it.
 */
export function gradNorm(plan: Plan, grads: readonly Tensor[]): Tensor {
  return sum(plan, grads, { squares: true });
}

/**
 * Record scale * sum of losses: the mean over the unmasked tokens when scale is 1 / their number.
 *
 * @param losses (N), masked already.
 * @returns (1): `into`, or an activation of the plan: {@linkcode Plan.keep} it to read it.
 */
export function meanLoss(
  plan: Plan,
  losses: Tensor,
  state: LossState,
  options: Pick<SumOptions, "into"> = {},
): Tensor {
  return sum(plan, losses, { ...options, factor: state.tensor });
}

function recordSum(
  plan: Plan,
  inp: Tensor,
  out: Tensor,
  options: {
    block: number;
    start: number;
    flags: number;
    scale: number;
    factor?: Tensor | undefined;
  },
): void {
  const { device } = plan;
  const { block, start, flags, scale, factor } = options;
  const kernel = device.lanes > 0
    ? device.kernel(SUM, { LANES: device.lanes })
    : device.kernel(SUM_PORTABLE);
  plan.dispatch(kernel, {
    groups: grid(Math.ceil(inp.count / block)),
    params: {
      count: inp.count,
      block,
      start,
      flags,
      scale,
      pad0: 0,
      pad1: 0,
      pad2: 0,
    },
    bindings: [
      read(inp),
      read(factor ?? device.none("read", "u32")),
      (flags & ADD) !== 0 ? readWrite(out) : write(out),
    ],
    work: { flops: 2 * inp.count, bytes: inp.sizeBytes },
  });
}

/**
 * Softmax cross-entropy over a few classes against soft labels, fused with its gradient.
 *
 * @module
 */
import { defineKernel } from "../gpu/kernel.ts";
import { grid, read, readWrite, uniform, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import source from "../../shaders/soft_cross_entropy.wgsl" with { type: "text" };
import type { LossState } from "./cross_entropy.ts";

const SOFT_CROSS_ENTROPY = defineKernel({
  label: "soft_cross_entropy",
  source,
  file: "shaders/soft_cross_entropy.wgsl",
});
const WG_SIZE = 64;

/** Options of {@linkcode softCrossEntropy}. */
export interface SoftCrossEntropyOptions {
  /**
   * (N, K) f32: shares of the classes, adding up to the row's weight; all 0 where it is padding.
   */
  labels: Tensor;
  /** Coefficient over the examples of the step. */
  state: LossState;
  /**
   * Whether the logits of one example are a row, (N, K), or a column, (K, N).
   *
   * @default "rows"
   */
  classes?: "rows" | "columns";
  /** Overwrite the logits with their gradient. @default whether the plan is for training */
  gradient?: boolean;
}

/**
 * Record losses[n] = Σ_k labels[n, k] (logsumexp(logits[n, :]) - logits[n, k]) and, where asked
 * for, the gradient of scale * sum of losses, **in place**: the logits become their own gradient,
 * which the backward of the op that made them finds. Nothing else may read the logits afterwards.
 *
 * @param logits (N, K), or (K, N) where classes are columns; any shape of N K elements.
 * @returns losses (N)
 * @throws {RangeError} When shapes do not fit or another loss reads the logits.
 */
export function softCrossEntropy(
  plan: Plan,
  logits: Tensor,
  options: SoftCrossEntropyOptions,
): Tensor {
  const { labels, state, classes = "rows", gradient = plan.training } = options;
  const [N, K] = labels.shape;
  const want = (what: string, got: string) =>
    new RangeError(`Cannot record soft_cross_entropy: ${what}: got ${got}`);
  if (labels.shape.length !== 2 || N === undefined || K === undefined) {
    throw want(`"${labels.label}" of shape (N, K)`, `(${labels.shape.join(", ")})`);
  }
  if (logits.count !== N * K) {
    throw want(`"${logits.label}" of ${N} × ${K} logits`, `${logits.count}`);
  }
  if (gradient && plan.gradient(logits)) {
    throw want(`"${logits.label}" read by one loss only`, "a second one");
  }
  const losses = plan.activation("losses", [N]);
  const [rowStride, columnStride] = classes === "rows" ? [K, 1] : [1, N];
  plan.dispatch(plan.device.kernel(SOFT_CROSS_ENTROPY, { GRADIENT: gradient ? 1 : 0 }), {
    groups: grid(Math.ceil(N / WG_SIZE)),
    params: { N, K, rowStride, columnStride },
    bindings: [uniform(state.tensor), read(labels), readWrite(logits), write(losses)],
    work: { flops: 8 * N * K },
  });
  if (gradient && plan.training) plan.seed(logits, logits);
  return losses;
}

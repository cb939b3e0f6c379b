/**
 * The loss of a reward model: logistic loss of all comparisons of a prompt, with its gradient.
 *
 * Source: L. Ouyang et al., "Training language models to follow instructions with human feedback",
 * 2022, section 3.5, equation 1.
 *
 * @module
 */
import { defineKernel } from "../gpu/kernel.ts";
import { grid, read, uniform, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import source from "../../shaders/pairwise.wgsl" with { type: "text" };
import type { LossState } from "./cross_entropy.ts";

const PAIRWISE = defineKernel({ label: "pairwise", source, file: "shaders/pairwise.wgsl" });
const WG_SIZE = 64;

/** Options of {@linkcode pairwise}. */
export interface PairwiseOptions {
  /** (E, K, K) f32: weight of "i is better than j"; 0 where nothing is said. */
  weights: Tensor;
  /** Coefficient over the prompts of the step. */
  state: LossState;
  /** Whether the scores get a gradient. @default whether the plan is for training */
  gradient?: boolean;
}

/**
 * Record losses[e, i] = Σ_j weights[e, i, j] · −log σ(scores[e, i] − scores[e, j]) and, where asked
 * for, the gradient of scale * sum of losses, where the backward of the op that made the scores
 * finds it.
 *
 * @param scores any shape of E K elements: the K scores of each prompt in a row
 * @returns losses (E K): each comparison is in the row of its better side
 * @throws {RangeError} When shapes do not fit or another loss reads the scores.
 */
export function pairwise(plan: Plan, scores: Tensor, options: PairwiseOptions): Tensor {
  const { weights, state, gradient = plan.training } = options;
  const [E, K, columns] = weights.shape;
  const want = (what: string, got: string) =>
    new RangeError(`Cannot record pairwise: ${what}: got ${got}`);
  if (weights.shape.length !== 3 || E === undefined || K === undefined || K !== columns) {
    throw want(`"${weights.label}" of shape (E, K, K)`, `(${weights.shape.join(", ")})`);
  }
  if (scores.count !== E * K) {
    throw want(`"${scores.label}" of ${E} × ${K} scores`, `${scores.count}`);
  }
  if (gradient && plan.gradient(scores)) {
    throw want(`"${scores.label}" read by one loss only`, "a second one");
  }
  const losses = plan.activation("losses", [E * K]);
  const dscores = gradient ? plan.activation("dscores", scores.shape) : undefined;
  plan.dispatch(plan.device.kernel(PAIRWISE, { GRADIENT: gradient ? 1 : 0 }), {
    groups: grid(Math.ceil(E * K / WG_SIZE)),
    params: { E, K, pad0: 0, pad1: 0 },
    bindings: [
      uniform(state.tensor),
      read(scores),
      read(weights),
      write(losses),
      write(dscores ?? plan.device.none("write", "f32")),
    ],
    work: { flops: 16 * E * K * K },
  });
  if (dscores && plan.training) plan.seed(scores, dscores);
  return losses;
}

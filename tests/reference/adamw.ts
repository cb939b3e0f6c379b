/**
 * Slow f64 twin of AdamW and of clipping by the global norm, in PyTorch's order of operations.
 *
 * Sources: I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019
 * (https://arxiv.org/abs/1711.05101), algorithm 2; torch.optim.AdamW;
 * torch.nn.utils.clip_grad_norm_.
 *
 * @module
 */

import { sumOfSquares } from "./reduce.ts";

/** Hyperparameters of one step. */
export interface AdamwOptions {
  lr: number;
  /** @default 0.9 */
  beta1?: number | undefined;
  /** @default 0.999 */
  beta2?: number | undefined;
  /** @default 1e-8 */
  eps?: number | undefined;
  /** Decoupled: the weight shrinks by lr weightDecay, whatever the gradient. @default 0 */
  weightDecay?: number | undefined;
  /** Number of this step, from 1. */
  step: number;
  /** Factor of the gradient before use: the clip coefficient. @default 1 */
  gradScale?: number | undefined;
}

/** A parameter and its moments, one shape. */
export interface AdamwState {
  param: ArrayLike<number>;
  m: ArrayLike<number>;
  v: ArrayLike<number>;
}

/** The state after one AdamW step; the given state is left as it is. */
export function adamwStep(
  state: AdamwState,
  grad: ArrayLike<number>,
  options: AdamwOptions,
): { param: Float64Array; m: Float64Array; v: Float64Array } {
  const { lr, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0, step, gradScale = 1 } =
    options;
  const param = Float64Array.from(state.param);
  const m = Float64Array.from(state.m);
  const v = Float64Array.from(state.v);
  const correction1 = 1 - beta1 ** step;
  const correction2 = 1 - beta2 ** step;
  for (let i = 0; i < param.length; i++) {
    const g = grad[i]! * gradScale;
    const decayed = param[i]! * (1 - lr * weightDecay);
    m[i] = beta1 * m[i]! + (1 - beta1) * g;
    v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
    const denominator = Math.sqrt(v[i]!) / Math.sqrt(correction2) + eps;
    param[i] = decayed - lr / correction1 * m[i]! / denominator;
  }
  return { param, m, v };
}

/** L2 norm of all gradients together. */
export function globalNorm(grads: readonly ArrayLike<number>[]): number {
  let total = 0;
  for (const grad of grads) total += sumOfSquares(grad);
  return Math.sqrt(total);
}

/** Factor that brings gradients to a norm of at most maxNorm: min(1, maxNorm / (norm + 1e-6)). */
export function clipCoefficient(norm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (norm + 1e-6));
}

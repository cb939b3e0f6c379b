/**
 * AdamW with decoupled weight decay, clipped by the global norm of the gradient.
 *
 * Sources: I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019;
 * torch.optim.AdamW; torch.nn.utils.clip_grad_norm_.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import type { Uniforms } from "../gpu/uniforms.ts";
import { defineKernel } from "../gpu/kernel.ts";
import { grid, read, readWrite, uniform } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import source from "../../shaders/adamw.wgsl" with { type: "text" };

const ADAMW = defineKernel({ label: "adamw", source, file: "shaders/adamw.wgsl" });
const WG_SIZE = 64;
const PER_THREAD = 16;

/** Fields of {@linkcode AdamwState}, as the shader has them. */
export const ADAMW_FIELDS = {
  beta2: "f32",
  oneMinusBeta1: "f32",
  oneMinusBeta2: "f32",
  eps: "f32",
  shrink: "f32",
  stepSize: "f32",
  rsqrtC2: "f32",
  maxNorm: "f32",
} as const;

/** What an update takes anew on every step; set it to {@linkcode adamwStep}'s result. */
export type AdamwState = Uniforms<typeof ADAMW_FIELDS>;

/** The state of an update; who asks for it destroys it. */
export function adamwState(device: Device, label = "adamw"): AdamwState {
  return device.uniforms(label, ADAMW_FIELDS);
}

/** Hyperparameters of one step. */
export interface AdamwStepOptions {
  /** Learning rate, 0 or more. */
  lr: number;
  /** Decay of the first moment, in [0, 1). @default 0.9 */
  beta1?: number;
  /** Decay of the second moment, in [0, 1). @default 0.999 */
  beta2?: number;
  /** Added to the root of the second moment, above 0. @default 1e-8 */
  eps?: number;
  /** Decoupled: a decayed weight shrinks by lr decay, whatever its gradient. @default 0 */
  decay?: number;
  /** Gradients are scaled down to this norm. @default no clipping */
  maxNorm?: number;
  /** Number of this step, from 1. */
  step: number;
}

/** "No clipping" as a number: far above any norm, and finite when divided by 1e-6. */
const NO_CLIP = 1e30;

/**
 * The scalars of one step, in f64 until the last moment: 1 - beta^step loses its digits in f32.
 *
 * @throws {RangeError} When a value is out of its range.
 */
export function adamwStep(options: AdamwStepOptions): Record<keyof typeof ADAMW_FIELDS, number> {
  const { lr, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, decay = 0, step } = options;
  const maxNorm = options.maxNorm ?? NO_CLIP;
  const check = (name: string, ok: boolean, want: string, got: number) => {
    if (!ok) throw new RangeError(`Cannot set an AdamW step: ${name} ${want}: got ${got}`);
  };
  check("lr", lr >= 0 && Number.isFinite(lr), "of 0 or more", lr);
  check("beta1", beta1 >= 0 && beta1 < 1, "in [0, 1)", beta1);
  check("beta2", beta2 >= 0 && beta2 < 1, "in [0, 1)", beta2);
  check("eps", eps > 0, "above 0", eps);
  check("decay", decay >= 0 && Number.isFinite(decay), "of 0 or more", decay);
  check("maxNorm", maxNorm > 0, "above 0", maxNorm);
  check("step", Number.isInteger(step) && step >= 1, "a whole number from 1", step);
  return {
    beta2,
    oneMinusBeta1: 1 - beta1,
    oneMinusBeta2: 1 - beta2,
    eps,
    shrink: lr * decay,
    stepSize: lr / (1 - beta1 ** step),
    rsqrtC2: 1 / Math.sqrt(1 - beta2 ** step),
    maxNorm: Math.min(maxNorm, NO_CLIP),
  };
}

/**
 * One run of parameters with gradient and moments, of one length, a multiple of 4: an arena's
 * buffers.
 */
export interface AdamwRange {
  /** (n) f32: parameters. */
  value: Tensor;
  /** (n) f32: their gradients. */
  grad: Tensor;
  /** (n) f32: first moments. */
  m: Tensor;
  /** (n) f32: second moments. */
  v: Tensor;
  /** The elements before this one are decayed; a multiple of 4. @default all */
  decayed?: number;
}

/** What the ranges of one update share. */
export interface AdamwOptions {
  /** Scalars of the step. */
  state: AdamwState;
  /** (1) f32: the squared norm of all gradients, from {@linkcode gradNorm}. */
  norm2: Tensor;
  /** (1) u32: counts the steps that were left out because norm2 was not finite. */
  skipped: Tensor;
}

/**
 * Record one AdamW update of all ranges. A step whose norm2 is infinite or NaN changes nothing but
 * `skipped`. Gradients are left as they are; clear them before the next step.
 *
 * @throws {RangeError} When lengths differ, or one or `decayed` is no multiple of 4.
 */
export function adamw(plan: Plan, ranges: readonly AdamwRange[], options: AdamwOptions): void {
  const { device } = plan;
  const { state, norm2, skipped } = options;
  const kernel = device.kernel(ADAMW, { PER_THREAD }, { WG_SIZE });
  ranges.forEach(({ value, grad, m, v, decayed = value.count }, index) => {
    const { count } = value;
    for (const tensor of [grad, m, v]) {
      if (tensor.count === count) continue;
      throw new RangeError(
        `Cannot record adamw: "${tensor.label}" of ${count} elements, as "${value.label}": ` +
          `got ${tensor.count}`,
      );
    }
    if (count % 4 !== 0) {
      throw new RangeError(
        `Cannot record adamw: "${value.label}" of whole vec4s, as arenas are: got ${count} elements`,
      );
    }
    if (decayed < 0 || decayed > count || decayed % 4 !== 0) {
      throw new RangeError(
        `Cannot record adamw: decayed a multiple of 4 up to ${count} in "${value.label}": ` +
          `got ${decayed}`,
      );
    }
    plan.dispatch(kernel, {
      groups: grid(Math.ceil(count / (4 * WG_SIZE * PER_THREAD))),
      params: { count, decayed, first: index === 0 ? 1 : 0, pad0: 0 },
      bindings: [
        uniform(state.tensor),
        read(grad),
        read(norm2),
        readWrite(value),
        readWrite(m),
        readWrite(v),
        readWrite(skipped),
      ],
      work: { flops: 16 * count, bytes: 7 * value.sizeBytes },
    });
  });
}

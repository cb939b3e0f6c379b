/**
 * The losses of proximal policy optimisation: clipped, token by token, with their gradients.
 *
 * Source: J. Schulman et al., "Proximal Policy Optimization Algorithms", 2017, equation 7; the
 * clipping of values is that of OpenAI's baselines and of D. Ziegler et al., "Fine-Tuning Language
 * Models from Human Preferences", 2019.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import type { Uniforms } from "../gpu/uniforms.ts";
import { defineKernel } from "../gpu/kernel.ts";
import { grid, read, readWrite, uniform, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import policySource from "../../shaders/ppo_policy.wgsl" with { type: "text" };
import valueSource from "../../shaders/ppo_value.wgsl" with { type: "text" };
import { crossEntropy, type LossState } from "./cross_entropy.ts";
import { entropy } from "./entropy.ts";
import type { ChunkLoss } from "./lm_head.ts";

const POLICY = defineKernel({
  label: "ppo_policy",
  source: policySource,
  file: "shaders/ppo_policy.wgsl",
});
const VALUE = defineKernel({
  label: "ppo_value",
  source: valueSource,
  file: "shaders/ppo_value.wgsl",
});
const WG_SIZE = 64;

/** Fields of {@linkcode PpoState}. */
export const PPO_FIELDS = { clip: "f32" } as const;

/** How far a ratio or a value may move. */
export type PpoState = Uniforms<typeof PPO_FIELDS>;

/** A state of this clipping; who asks for it destroys it. */
export function ppoState(device: Device, clip: number): PpoState {
  const state = device.uniforms("ppo", PPO_FIELDS);
  state.set({ clip });
  return state;
}

/** What the loss of a policy is computed from. */
export interface PolicyInputs {
  /** (N) u32: the token that was chosen at each position. */
  readonly targets: Tensor;
  /** (N, 4) f32: its old log-probability, its advantage, 1 where it counts, and nothing. */
  readonly tokens: Tensor;
  /** (N) f32: 1 where it counts; again, as cross-entropy reads it. */
  readonly mask: Tensor;
  /** 1 / tokens of the step that count. */
  readonly state: LossState;
  /** Of the ratio. */
  readonly clip: PpoState;
  /** Live columns of the logits. */
  readonly V: number;
}

/** (N) each, 0 where the mask is. */
export interface PolicyOutputs {
  /** The clipped loss. */
  readonly losses: Tensor;
  /** Half the squared log-ratio. */
  readonly kl: Tensor;
  /** 1 where the loss is clipped. */
  readonly clipped: Tensor;
  /** New probability over the old one. */
  readonly ratios: Tensor;
  /** -Σ p log p of the policy's distribution, in nats. */
  readonly entropies: Tensor;
}

/**
 * The loss of a policy, for {@linkcode lmHeadLoss}: the log-probability of each chosen token, the
 * clipped loss of it, and, by cross-entropy weighted with that loss's own slope, the gradient in
 * the logits, in place.
 *
 * @param N positions in all
 * @throws {RangeError} When shapes do not fit.
 */
export function policyLoss(
  plan: Plan,
  N: number,
  { targets, tokens, mask, state, clip, V }: PolicyInputs,
): { loss: ChunkLoss; outputs: PolicyOutputs } {
  if (tokens.count !== 4 * N || mask.count !== N || targets.count !== N) {
    throw new RangeError(
      `Cannot record ppo_policy: "${tokens.label}" of ${N} × 4, "${mask.label}" and ` +
        `"${targets.label}" of ${N}: got ${tokens.count}, ${mask.count} and ${targets.count}`,
    );
  }
  const nll = plan.activation("nll", [N]);
  const weights = plan.activation("slopes", [N]);
  const unused = plan.activation("weighted nll", [N]);
  const outputs = {
    losses: plan.activation("policy losses", [N]),
    kl: plan.activation("kl", [N]),
    clipped: plan.activation("clipped", [N]),
    ratios: plan.activation("ratios", [N]),
    entropies: plan.activation("entropies", [N]),
  };
  const loss: ChunkLoss = (logits, { start, rows, gradient }) => {
    const inputs = { targets, state, V, start };
    crossEntropy(plan, logits, { ...inputs, mask, losses: nll, gradient: false });
    entropy(plan, logits, { mask, entropies: outputs.entropies, V, start });
    // A later chunk writes its own rows; the earlier chunks' stay.
    const out = start > 0 ? readWrite : write;
    plan.dispatch(plan.device.kernel(POLICY), {
      groups: grid(Math.ceil(rows / WG_SIZE)),
      params: { rows, start, pad0: 0, pad1: 0 },
      bindings: [
        uniform(clip.tensor),
        read(nll),
        read(tokens),
        out(weights),
        out(outputs.losses),
        out(outputs.kl),
        out(outputs.clipped),
        out(outputs.ratios),
      ],
      work: { flops: 12 * rows, bytes: 40 * rows },
    });
    if (gradient) {
      crossEntropy(plan, logits, { ...inputs, mask: weights, losses: unused, gradient: true });
    }
  };
  return { loss, outputs };
}

/** What the loss of a value model is computed from. */
export interface ValueInputs {
  /** (N, 4) f32: the old value, the value to learn, 1 where it counts, and nothing. */
  readonly tokens: Tensor;
  /** 1 / tokens of the step that count. */
  readonly state: LossState;
  /** Of the value. */
  readonly clip: PpoState;
  /** Whether the values get a gradient. @default whether the plan is for training */
  readonly gradient?: boolean;
}

/**
 * Record half the squared error of each value, clipped, and the gradient of scale * sum of losses,
 * where the backward of the op that made the values finds it.
 *
 * @param values any shape of N elements
 * @returns (N) each
 * @throws {RangeError} When shapes do not fit or another loss reads the values.
 */
export function valueLoss(
  plan: Plan,
  values: Tensor,
  { tokens, state, clip, gradient = plan.training }: ValueInputs,
): { losses: Tensor; clipped: Tensor } {
  const N = values.count;
  if (tokens.count !== 4 * N) {
    throw new RangeError(
      `Cannot record ppo_value: "${tokens.label}" of ${N} × 4: got ${tokens.count}`,
    );
  }
  if (gradient && plan.gradient(values)) {
    throw new RangeError(
      `Cannot record ppo_value: "${values.label}" read by one loss only: got a second one`,
    );
  }
  const losses = plan.activation("value losses", [N]);
  const clipped = plan.activation("clipped", [N]);
  const dvalues = gradient ? plan.activation("dvalues", values.shape) : undefined;
  plan.dispatch(plan.device.kernel(VALUE, { GRADIENT: gradient ? 1 : 0 }), {
    groups: grid(Math.ceil(N / WG_SIZE)),
    params: { N, pad0: 0, pad1: 0, pad2: 0 },
    bindings: [
      uniform(clip.tensor),
      uniform(state.tensor),
      read(values),
      read(tokens),
      write(losses),
      write(clipped),
      write(dvalues ?? plan.device.none("write", "f32")),
    ],
    work: { flops: 12 * N, bytes: 32 * N },
  });
  if (dvalues && plan.training) plan.seed(values, dvalues);
  return { losses, clipped };
}

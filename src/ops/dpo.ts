/**
 * Responses as a whole, for direct preference optimisation: their log-probabilities from those of
 * tokens, the way back, and what is told of comparisons.
 *
 * Source: R. Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a
 * Reward Model", 2023, equation 7: the logistic loss of src/ops/pairwise.ts over the scores here.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import type { Uniforms } from "../gpu/uniforms.ts";
import { defineKernel } from "../gpu/kernel.ts";
import { grid, read, uniform, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import metricsSource from "../../shaders/pair_metrics.wgsl" with { type: "text" };
import scoreSource from "../../shaders/sequence_score.wgsl" with { type: "text" };
import weightsSource from "../../shaders/sequence_weights.wgsl" with { type: "text" };

const SCORE = defineKernel({
  label: "sequence_score",
  source: scoreSource,
  file: "shaders/sequence_score.wgsl",
});
const WEIGHTS = defineKernel({
  label: "sequence_weights",
  source: weightsSource,
  file: "shaders/sequence_weights.wgsl",
});
const METRICS = defineKernel({
  label: "pair_metrics",
  source: metricsSource,
  file: "shaders/pair_metrics.wgsl",
});
const WG_SIZE = 64;

/** Fields of {@linkcode DpoState}. */
export const DPO_FIELDS = { beta: "f32" } as const;

/** How much a log-probability counts that differs from the reference's. */
export type DpoState = Uniforms<typeof DPO_FIELDS>;

/** A state of this beta; who asks for it destroys it. */
export function dpoState(device: Device, beta: number): DpoState {
  const state = device.uniforms("dpo", DPO_FIELDS);
  state.set({ beta });
  return state;
}

/**
 * Record logps[r] = −Σ_t nll[r, t] and scores[r] = β (logps[r] − reference[r]). No gradient: see
 * {@linkcode sequenceWeights}.
 *
 * @param nll (R, T), 0 where a position is not the response's
 * @param reference (R)
 * @throws {RangeError} When shapes do not fit.
 */
export function sequenceScores(
  plan: Plan,
  nll: Tensor,
  { reference, state }: { reference: Tensor; state: DpoState },
): { logps: Tensor; scores: Tensor } {
  const R = reference.count;
  const T = nll.count / R;
  if (!Number.isInteger(T)) {
    throw new RangeError(
      `Cannot record sequence_score: "${nll.label}" of ${R} rows of one length: got ${nll.count}`,
    );
  }
  const logps = plan.activation("logps", [R]);
  const scores = plan.activation("scores", [R]);
  plan.dispatch(plan.device.kernel(SCORE), {
    groups: grid(R),
    params: { R, T, pad0: 0, pad1: 0 },
    bindings: [uniform(state.tensor), read(nll), read(reference), write(logps), write(scores)],
    work: { flops: R * T },
  });
  return { logps, scores };
}

/**
 * Record weights[r, t] = −β dscores[r] mask[r, t]: cross-entropy with this as its mask, and a scale
 * of 1, has the gradient of whatever loss dscores is the gradient of.
 *
 * @param mask (R, T)
 * @param dscores (R)
 * @returns weights (R T)
 * @throws {RangeError} When shapes do not fit.
 */
export function sequenceWeights(
  plan: Plan,
  mask: Tensor,
  { dscores, state }: { dscores: Tensor; state: DpoState },
): Tensor {
  const R = dscores.count;
  const T = mask.count / R;
  if (!Number.isInteger(T)) {
    throw new RangeError(
      `Cannot record sequence_weights: "${mask.label}" of ${R} rows of one length: ` +
        `got ${mask.count}`,
    );
  }
  const weights = plan.activation("slopes", [R * T]);
  plan.dispatch(plan.device.kernel(WEIGHTS), {
    groups: grid(Math.ceil(R * T / WG_SIZE)),
    params: { R, T, pad0: 0, pad1: 0 },
    bindings: [uniform(state.tensor), read(mask), read(dscores), write(weights)],
    work: { flops: 2 * R * T },
  });
  return weights;
}

/** Sums over the comparisons in which a row is the better side; (E K) each. */
export interface PairMetrics {
  /** Scores of better sides. */
  readonly chosen: Tensor;
  /** Scores of worse sides. */
  readonly rejected: Tensor;
  /** Comparisons whose better side has the higher score. */
  readonly right: Tensor;
  /** Log-probabilities of better sides. */
  readonly chosenLogps: Tensor;
  /** Log-probabilities of worse sides. */
  readonly rejectedLogps: Tensor;
}

/**
 * Record what is told of comparisons, each counting 1 whatever its weight.
 *
 * @param scores (E K)
 * @param options `logps` (E K), `weights` (E, K, K): not 0 where i is better than j
 * @throws {RangeError} When shapes do not fit.
 */
export function pairMetrics(
  plan: Plan,
  scores: Tensor,
  { logps, weights }: { logps: Tensor; weights: Tensor },
): PairMetrics {
  const [E, K, columns] = weights.shape;
  const isFine = weights.shape.length === 3 && K === columns && scores.count === E! * K! &&
    logps.count === scores.count;
  if (!isFine) {
    throw new RangeError(
      `Cannot record pair_metrics: "${weights.label}" of (E, K, K), "${scores.label}" and ` +
        `"${logps.label}" of E K: got (${weights.shape.join(", ")}), ${scores.count} and ` +
        `${logps.count}`,
    );
  }
  const sums = (label: string) => plan.activation(label, [E! * K!]);
  const metrics: PairMetrics = {
    chosen: sums("chosen"),
    rejected: sums("rejected"),
    right: sums("right"),
    chosenLogps: sums("chosen logps"),
    rejectedLogps: sums("rejected logps"),
  };
  plan.dispatch(plan.device.kernel(METRICS), {
    groups: grid(Math.ceil(E! * K! / WG_SIZE)),
    params: { E: E!, K: K!, pad0: 0, pad1: 0 },
    bindings: [
      read(scores),
      read(logps),
      read(weights),
      write(metrics.chosen),
      write(metrics.rejected),
      write(metrics.right),
      write(metrics.chosenLogps),
      write(metrics.rejectedLogps),
    ],
    work: { flops: 5 * E! * K! * K! },
  });
  return metrics;
}

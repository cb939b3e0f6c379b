/**
 * Schedules: pure functions of the step, so that resuming needs no state.
 *
 * @module
 */

/** Learning rate over a run: linear warm-up, then a decay to `minLr`. */
export interface LearningRateSchedule {
  /** Peak, reached at the end of the warm-up. */
  readonly lr: number;
  /** At the end of the decay. */
  readonly minLr: number;
  /** Steps until the peak. */
  readonly warmupSteps: number;
  /** Steps of the whole run. */
  readonly totalSteps: number;
  /** From the peak to the end. */
  readonly shape: "cosine" | "linear" | "constant";
}

/**
 * Learning rate of a step, counted from 0, as nanoGPT has it: warm-up reaches `lr` at step
 * `warmupSteps`, the decay ends at `totalSteps`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const schedule = { lr: 1, minLr: 0.1, warmupSteps: 3, totalSteps: 103, shape: "cosine" } as const;
 * assertEquals([0, 1, 3, 53, 103].map((step) => learningRate(step, schedule)), [0.25, 0.5, 1, 0.55, 0.1]);
 * ```
 */
export function learningRate(step: number, schedule: LearningRateSchedule): number {
  const { lr, minLr, warmupSteps, totalSteps, shape } = schedule;
  if (step < warmupSteps) return lr * (step + 1) / (warmupSteps + 1);
  if (shape === "constant") return lr;
  if (step >= totalSteps) return minLr;
  const done = (step - warmupSteps) / (totalSteps - warmupSteps);
  const remaining = shape === "cosine" ? 0.5 * (1 + Math.cos(Math.PI * done)) : 1 - done;
  return minLr + remaining * (lr - minLr);
}

/**
 * Rows of a step while the batch ramps up linearly from `start` to `full` over `rampSteps`, in
 * whole micro-batches (Brown et al. 2020, appendix B).
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const ramp = { start: 4, full: 16, rampSteps: 3, multiple: 4 };
 * assertEquals([0, 1, 2, 3, 9].map((step) => batchRows(step, ramp)), [4, 8, 12, 16, 16]);
 * ```
 */
export function batchRows(
  step: number,
  ramp: { start: number; full: number; rampSteps: number; multiple: number },
): number {
  const { start, full, rampSteps, multiple } = ramp;
  if (step >= rampSteps) return full;
  const rows = start + (full - start) * step / rampSteps;
  return Math.max(multiple, Math.floor(rows / multiple) * multiple);
}

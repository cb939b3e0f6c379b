/**
 * What ends a training: a loss or a gradient that is no number.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import type { Run } from "../run/run_folder.ts";

/** What is looked at of a step. */
export interface Health {
  /** Counted from 0. */
  readonly step: number;
  /** Of the step. */
  readonly loss: number;
  /** Global norm before clipping. */
  readonly gradNorm: number;
  /** Whether the update was left out. */
  readonly skipped: boolean;
}

/** The results as events. @throws {CannotError} On the first that is no number. */
export async function* healthy<R extends Health>(
  results: readonly R[],
  run: Pick<Run, "steps">,
): AsyncGenerator<{ readonly kind: "step" } & R> {
  for (const result of results) {
    const { step, loss, gradNorm, skipped } = result;
    if (skipped || !Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
      await stopUnhealthy(run, step, `loss ${loss}, gradient norm ${gradNorm}`);
    }
    yield { kind: "step", ...result };
  }
}

/** Ends a training, and says what is left of it. @throws {CannotError} Always. */
export async function stopUnhealthy(
  run: Pick<Run, "steps">,
  step: number,
  state: string,
): Promise<never> {
  const kept = (await run.steps()).at(-1);
  throw new CannotError(
    `go on after step ${step}`,
    "want a finite loss and gradient",
    `${state}; ` +
      (kept === undefined
        ? "there is no checkpoint yet: start again with a smaller lr or a longer warm-up"
        : `the checkpoint of step ${kept} is kept: resume the run with a smaller lr`),
  );
}

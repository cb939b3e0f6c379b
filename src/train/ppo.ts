/**
 * The stage of PPO: iterations, evaluations and checkpoints.
 *
 * @module
 */
import type { RunWriter } from "../run/run_folder.ts";
import { stopUnhealthy } from "./health.ts";
import type { PpoEvent } from "./ppo_events.ts";
import { diagnosis, type PpoFault } from "./ppo_report.ts";
import { type Iteration, type Ppo, RewardFailure } from "./ppo_training.ts";

/**
 * Trains to the end of the configuration, or until asked to stop; yields what happened. Where the
 * reward cannot be had, what was reached is saved before it throws.
 *
 * @throws {CannotError} When a loss or a gradient is no number (the last checkpoint stays), or the
 * reward cannot be had.
 */
export async function* ppo(state: Ppo, run: RunWriter): AsyncGenerator<PpoEvent> {
  const { config } = state.options;
  const start = state.step;
  let saved = start;
  let fault: PpoFault | undefined;
  for (;;) {
    const finished = state.step >= config.iterations;
    const last = finished || state.stopping;
    const advanced = state.step > start;
    // What was due where a resumed run begins was done before its checkpoint was saved.
    const evaluates = (advanced || start === 0) && state.heldOut.length > 0 &&
      config.evalEvery > 0 && !(state.stopping && !finished) &&
      (finished || state.step % config.evalEvery === 0);
    let failure: unknown;
    try {
      const score = evaluates ? (yield* state.evaluate()).score : undefined;
      if (state.step > saved && (last || state.step % config.saveEvery === 0)) {
        await state.save(run, score);
        saved = state.step;
        yield { kind: "saved", step: state.step };
      }
      if (last) return;
      const iteration = yield* state.iterate();
      if (!iteration) continue; // asked to stop before anything changed
      await checkHealth(iteration, run, state.step);
      yield { kind: "step", step: state.step, metrics: iteration.metrics };
      const { rollout, metrics, policy } = iteration;
      const found = diagnosis(rollout, metrics, policy[0]!.ratio);
      // What goes on is said once.
      if (found && found.fault !== fault) {
        yield { kind: "diagnosis", step: state.step, text: found.text };
      }
      fault = found?.fault;
      continue;
    } catch (error) {
      failure = error;
    }
    // A reward that failed changed nothing: what was reached since the last checkpoint is good.
    if (failure instanceof RewardFailure && state.step > saved) {
      await state.save(run, undefined);
      yield { kind: "saved", step: state.step };
    }
    throw failure instanceof RewardFailure ? failure.cause : failure;
  }
}

async function checkHealth(
  { policy, value }: Pick<Iteration, "policy" | "value">,
  run: RunWriter,
  step: number,
): Promise<void> {
  for (const { loss, gradNorm, skipped } of [...policy, ...value]) {
    if (!skipped && Number.isFinite(loss) && Number.isFinite(gradNorm)) continue;
    await stopUnhealthy(run, step - 1, `loss ${loss}, gradient norm ${gradNorm}`);
  }
}

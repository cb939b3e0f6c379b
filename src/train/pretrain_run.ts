/**
 * A run of pre-training that goes on: what must be as it was, what is taken back, what is logged.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import type { Device } from "../gpu/device.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import type { RunInfo, RunWriter } from "../run/run_folder.ts";
import type { StepEvent } from "./pretrain.ts";

/** The order of every sum on a device, as `run.json` has it. */
export function pretrainVariants(device: Device): Record<string, string> {
  const lanes = `${device.lanes}`;
  if (device.tuning === "processor") return { matmul: "sequential", lanes };
  // Which tiles were timed to be fastest changes no bit; how gradients are cut into slices does.
  return {
    matmul: "sequential, gradients in slices",
    attention: "by 32 keys",
    // Of losses, entropies, and the gradients of layer norms' weights.
    rows: device.evenSubgroups ? `by workgroups of ${device.mostThreads}` : "by subgroups",
    lanes,
  };
}

/**
 * Refuses where a run could not go on bit for bit.
 *
 * @throws {CannotError} When the data or the kernels are others now.
 */
export function checkSameBits(
  { name, info: then }: RunWriter,
  now: Pick<RunInfo, "data" | "variants">,
): void {
  const act = `go on with run "${name}"`;
  if (then.data[0]?.sha256 !== now.data[0]!.sha256) {
    throw new CannotError(act, "want the data it began with", "the files have changed");
  }
  if (JSON.stringify(then.variants) !== JSON.stringify(now.variants)) {
    throw new CannotError(
      act,
      `want kernels of the same order of sums (${JSON.stringify(then.variants)})`,
      `this device has ${JSON.stringify(now.variants)}`,
    );
  }
}

/**
 * Takes a run back to the checkpoint that it goes on from, or to its start, and writes the settings
 * that it goes on with into `run.json`.
 */
export async function takeBack(
  run: RunWriter,
  checkpoint: Checkpoint | undefined,
  config: { readonly keep: number },
): Promise<void> {
  // A crash between these leaves the run as it was, or the new settings with the old metrics.
  const info = { ...run.info, config: JSON.parse(JSON.stringify(config)) };
  await run.writeText("run.json", JSON.stringify(info, null, 2) + "\n");
  if (!checkpoint) return await run.rewindToStart();
  await run.rewindTo(checkpoint);
  await run.setCurrent(checkpoint.step); // a crash can come between a save and these
  await run.prune({ last: config.keep, best: true });
}

/** Writes a step or an evaluation to the run's metrics; the others leave none. */
export function logEvent(run: RunWriter, event: StepEvent, tokensPerSecond?: number): void {
  if (event.kind === "step") {
    run.log({
      step: event.step + 1,
      "train/loss": event.loss,
      lr: event.lr,
      grad_norm: event.gradNorm,
      ...(tokensPerSecond === undefined ? {} : { tokens_per_second: Math.round(tokensPerSecond) }),
    });
  } else if (event.kind === "evaluation") {
    run.log({
      step: event.step,
      "val/loss": event.loss,
      "val/perplexity": event.perplexity,
      "val/bits_per_byte": event.bitsPerByte,
    });
  }
}

/**
 * Which checkpoint of a run is served, changed by who does not write the run otherwise: a rename of
 * one small file, so that readers see the one or the other.
 *
 * @module
 */
import { join } from "node:path";
import { writeFileAtomic } from "./atomic.ts";
import type { Run } from "./run_folder.ts";

/**
 * Points `current` to a step; its checkpoint is then kept by whoever writes the run.
 *
 * @throws {CannotError} When the run has no such checkpoint, or a file of it was cut off.
 */
export async function pointTo(run: Run, step: number): Promise<void> {
  await run.checkpoint(step, { verify: "size" });
  await writeFileAtomic(join(run.path, "current"), `${step}\n`);
}

/**
 * `samples.txt`: what a run wrote at its evaluations.
 *
 * @module
 */

import { join } from "node:path";
import { systemState } from "../config/cannot.ts";
import type { RunWriter } from "./run_folder.ts";

/**
 * Adds a text under the step it was written at. What is there from that step on is dropped: a
 * resumed run writes it anew.
 */
export async function addSample(run: RunWriter, step: number, text: string): Promise<void> {
  const path = join(run.path, "samples.txt");
  const before = await Deno.readTextFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return "";
    throw new Error(`Cannot read ${path}: ${systemState(error)}`, { cause: error });
  });
  const kept = before.split(/^(?=--- step \d+ ---$)/m).filter((part) => {
    const at = part.match(/^--- step (\d+) ---$/m)?.[1];
    return at !== undefined && Number(at) < step;
  });
  await run.writeText("samples.txt", `${kept.join("")}--- step ${step} ---\n${text}\n\n`);
}

/**
 * Versions of a reward model that held-out feedback did not let take over: the last few stay, as
 * somebody may want to look at them; all others would fill the disk.
 *
 * @module
 */
import type { AuditEntry, AuditLog } from "../run/audit.ts";
import { RunWriter } from "../run/run_folder.ts";

/** Entries that are looked at; a version whose training is further back stays. */
const MOST_ENTRIES = 10_000;

/**
 * Steps of the versions that training made and that were never served, in the order of their
 * making. What was served is needed: answers name it, and it can be gone back to. So is a version
 * that others started from.
 *
 * @param entries of the audit list, the newest first
 */
export function rejectedSteps(entries: readonly AuditEntry[], run: string): number[] {
  const needed = new Set<unknown>();
  const made: number[] = [];
  for (const { event, run: about, detail } of entries) {
    if (about !== run) continue;
    if (event === "version.served") needed.add(detail.from).add(detail.to);
    if (event !== "training.ended" || detail.stage !== "reward") continue;
    needed.add(detail.base);
    if (detail.swapped === true) needed.add(detail.step);
    else if (typeof detail.step === "number") made.push(detail.step);
  }
  return [...new Set(made.reverse())].filter((step) => !needed.has(step));
}

/**
 * Removes rejected versions but the last ones, and writes that down. What `current` points to stays
 * in any case.
 *
 * @param options `root`: folder of all runs; `keep`: so many of the last ones, from 1: a step is
 * not given twice; `by`: who is written down
 * @returns steps that were removed
 * @throws {CannotError} When another process writes the run, or the audit list cannot be read.
 */
export async function removeRejected(
  audit: AuditLog,
  run: string,
  { root, keep, by }: { root: string; keep: number; by: string },
): Promise<number[]> {
  const old = rejectedSteps(await audit.list(MOST_ENTRIES), run).slice(0, -Math.max(1, keep));
  if (old.length === 0) return [];
  const writer = await RunWriter.open(root, run);
  try {
    const steps = await writer.remove(old);
    if (steps.length > 0) audit.append({ event: "version.removed", run, by, detail: { steps } });
    return steps;
  } finally {
    writer.close();
  }
}

/**
 * Tasks and the runtime that measures them, for tests of evaluations.
 *
 * @module
 */
import { join } from "node:path";
import { openGpuCore } from "../../src/runtime/gpu_backend.ts";
import { openLocal } from "../../src/runtime/local.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";

/** Writes a task's file and its data. @returns the path of the file */
export async function writeTask(
  folder: string,
  task: Readonly<Record<string, unknown>>,
  rows: readonly unknown[],
): Promise<string> {
  const name = String(task.name ?? "task");
  const data = `${name}.jsonl`;
  await Deno.writeTextFile(
    join(folder, data),
    rows.map((row) => JSON.stringify(row) + "\n").join(""),
  );
  const path = join(folder, `${name}.jsonc`);
  await Deno.writeTextFile(path, `// a task\n${JSON.stringify({ data, ...task }, null, 1)}\n`);
  return path;
}

/** Runs a test with a runtime of its own over runs of a folder. */
export async function withLocalRuntime(
  root: string,
  runs: readonly string[],
  test: (runtime: Runtime) => Promise<void>,
): Promise<void> {
  const runtime = await openLocal(openGpuCore, { root, runs: [...runs] });
  try {
    await test(runtime);
  } finally {
    await runtime.close();
  }
}

/**
 * `brachio eval`: measures a run on tasks, in this process, and compares what was measured.
 *
 * @module
 */
import { CannotError, orCannot } from "../config/cannot.ts";
import { compare } from "../eval/compare.ts";
import { type EvalResult, evaluate } from "../eval/evaluate.ts";
import { loadTask } from "../eval/load_task.ts";
import { showComparison, showResult } from "../eval/show.ts";
import { newestRun, runsRoot } from "../run/run_folder.ts";
import { openGpuCore } from "../runtime/gpu_backend.ts";
import { openLocal } from "../runtime/local.ts";
import { UsageError } from "./errors.ts";

/** Options of `brachio eval`, as the command line gives them. */
export interface EvalCommand {
  /** Name of the run, `name` or `name@step`; else the newest. */
  run?: string;
  /** Folder of all runs. */
  runs?: string;
  /** Data in place of the task file's. */
  data?: string;
  /** Only the first so many items of each task. */
  limit?: number;
  /** Settings over the task files. */
  set?: string[];
  /** A file for all that was measured. */
  out?: string;
  /** Print JSON in place of a table. */
  json?: boolean;
  /** Leaves out what is bad, and lists it. */
  skipBad?: boolean;
  /** Items under way at a time. */
  concurrency: number;
  /** False: without the subgroups feature. */
  subgroups: boolean;
  /** False: without the shader-f16 feature. */
  f16: boolean;
}

/** Measures each task, and returns the exit status. */
export async function evalTasks(paths: readonly string[], options: EvalCommand): Promise<number> {
  const { limit, concurrency, skipBad, set, data } = options;
  if (limit === 0) throw new UsageError("--limit must be 1 or more: got 0");
  if (concurrency === 0) throw new UsageError("--concurrency must be 1 or more: got 0");
  for (const flag of ["out", "data"] as const) {
    if (options[flag] === undefined || paths.length === 1) continue;
    throw new UsageError(`--${flag} is for one task: got ${paths.length}`);
  }
  // Every file is read before the device is opened: what is wrong is said at once.
  const tasks = [];
  for (const path of paths) tasks.push(await loadTask(path, { skipBad, set, data }));
  const root = runsRoot(options.runs);
  const [name] = (options.run ?? (await newestRun(root)).name).split("@");
  const runtime = await openLocal(openGpuCore, {
    root,
    runs: [name!],
    device: { subgroups: options.subgroups, f16: options.f16 },
  });
  try {
    const results: EvalResult[] = [];
    for (const task of tasks) {
      const progress = progressOf(task.spec.name);
      const result = await evaluate(task, runtime, {
        model: options.run,
        limit,
        concurrency,
        skipBad,
        progress,
      });
      results.push(result);
      if (!options.json) console.log(showResult(result));
    }
    if (options.json) console.log(JSON.stringify(results));
    if (options.out !== undefined) await writeResult(options.out, results[0]!);
    return 0;
  } finally {
    await runtime.close();
  }
}

/** Compares two files that `--out` wrote, and returns the exit status. */
export async function evalCompare(
  paths: readonly [string, string],
  { json }: { json?: boolean },
): Promise<number> {
  const [first, second] = [await readResult(paths[0]), await readResult(paths[1])];
  const comparison = compare(first, second);
  console.log(json ? JSON.stringify(comparison) : showComparison(comparison, { first, second }));
  return 0;
}

async function writeResult(path: string, result: EvalResult): Promise<void> {
  const text = JSON.stringify(result, null, 1) + "\n";
  await orCannot(`write ${path}`, "want a file", () => Deno.writeTextFile(path, text));
}

async function readResult(path: string): Promise<EvalResult> {
  const act = `read ${path}`;
  const text = await orCannot(act, "want a file", () => Deno.readTextFile(path));
  const want = "want what brachio eval --out wrote";
  let value: Partial<EvalResult> | null;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CannotError(act, want, "it is no JSON", { cause });
  }
  const parts = ["task", "data", "model", "metrics", "items"] as const;
  const missing = parts.find((part) => value?.[part] === undefined);
  if (missing !== undefined) throw new CannotError(act, want, `it has no "${missing}"`);
  return value as EvalResult;
}

/** A line that is written over, on a terminal only. */
function progressOf(name: string): (done: number, all: number) => void {
  if (!Deno.stderr.isTerminal()) return () => {};
  const encoder = new TextEncoder();
  return (done, all) => {
    const text = done === all ? "\r\x1b[K" : `\r\x1b[K${name}: ${done} of ${all}`;
    Deno.stderr.writeSync(encoder.encode(text));
  };
}

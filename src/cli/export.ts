/**
 * `brachio export`: writes a checkpoint for `transformers` or llama.cpp.
 *
 * @module
 */
import type { Exported } from "../exchange/export_hf.ts";
import type { FloatDtype } from "../exchange/narrow.ts";
import { newestRun, Run, runsRoot } from "../run/run_folder.ts";

/** Options of `brachio export`, as the command line gives them. */
export interface ExportCommand {
  /** A file ending in .gguf is for llama.cpp, else a folder for transformers. */
  out: string;
  /** Name of the run; else the newest. */
  run?: string;
  /** Folder of all runs. */
  runs?: string;
  /** Which checkpoint of the run. */
  checkpoint: number | "current" | "last" | "best";
  /** Float type of the matrices. */
  dtype: FloatDtype;
}

/** Exports, says what was written, and returns the exit status. */
export async function exportRun(options: ExportCommand): Promise<number> {
  const { out, dtype } = options;
  const root = runsRoot(options.runs);
  const run = options.run === undefined ? await newestRun(root) : await Run.open(root, options.run);
  const checkpoint = await run.checkpoint(options.checkpoint);
  let exported: Exported;
  if (out.endsWith(".gguf")) {
    const { exportGguf } = await import("../exchange/export_gguf.ts");
    exported = await exportGguf(checkpoint, out, { dtype, name: run.name });
  } else {
    const { exportFolder } = await import("../exchange/export_hf.ts");
    exported = await exportFolder(checkpoint, out, dtype);
  }
  const { path, kind } = exported;
  console.log(`${path}: ${run.name}, step ${checkpoint.step}, as ${kind} in ${dtype}`);
  return 0;
}

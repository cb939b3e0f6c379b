/**
 * `brachio import`: makes a run of a Hugging Face folder of GPT-2 or OpenAI GPT.
 *
 * @module
 */
import { join } from "node:path";
import { importModel } from "../exchange/import.ts";
import { parameterCount } from "../model/parameters.ts";
import { runsRoot } from "../run/run_folder.ts";

/** Options of `brachio import`, as the command line gives them. */
export interface ImportCommand {
  /** Name of the new run; else the folder's. */
  name?: string;
  /** Folder of all runs. */
  runs?: string;
  /** A tokenizer.json in place of the folder's own, or gpt2. */
  tokenizer?: string;
}

/** Imports, says what came, and returns the exit status. */
export async function importFolder(folder: string, options: ImportCommand): Promise<number> {
  const root = runsRoot(options.runs);
  const { name, tokenizer } = options;
  const imported = await importModel(folder, { root, name, tokenizer });
  const { model, format, dtypes, shards, classes, notes } = imported;
  const parts = [
    `${parameterCount(model).toLocaleString("en")} parameters of ${format}`,
    `${model.layers} layers, ${model.channels} wide, ${model.heads} heads`,
    `context ${model.contextLength}`,
    `${model.vocabSize.toLocaleString("en")} tokens`,
    ...(classes > 0 ? [`a head of ${classes} ${classes === 1 ? "class" : "classes"}`] : []),
    `from ${dtypes.join(" and ")} in ${shards} ${shards === 1 ? "file" : "files"}`,
  ];
  console.log(`${join(root, imported.name)}: ${parts.join(", ")}`);
  for (const note of notes) console.log(`note: ${note}`);
  return 0;
}

/**
 * Runs with tiny models to serve.
 *
 * @module
 */
import type { ModelConfig } from "../../src/model/config.ts";
import { configToJson } from "../../src/model/config_json.ts";
import { parameterTable } from "../../src/model/parameters.ts";
import type { CheckpointFile } from "../../src/run/checkpoint.ts";
import { RunWriter } from "../../src/run/run_folder.ts";
import { tokenizerConfig } from "../../src/tokenizer/file.ts";
import { RESERVED_TOKENS } from "../../src/tokenizer/special.ts";
import { trainBpeFromCounts, WordCounts } from "../../src/tokenizer/train.ts";
import { TINY_MODELS, tinyTensor } from "./models.ts";
import { runInfo } from "./runs.ts";

/** A token a byte, and the special ones. */
export const TOKENIZER = trainBpeFromCounts(new WordCounts(RESERVED_TOKENS), { vocabSize: 264 });

/** The tiny model of every served run. */
export const SERVED_MODEL = {
  ...TINY_MODELS.gpt2!,
  vocabSize: TOKENIZER.vocabSize,
  contextLength: 64,
  layers: 1,
};

/** Saves a checkpoint, which is current then; another seed is another model. */
export async function saveModel(
  run: RunWriter,
  step: number,
  { seed, score, model = SERVED_MODEL }: { seed: number; score?: number; model?: ModelConfig },
): Promise<void> {
  const tensors = parameterTable(model).map((spec, index) => ({
    name: spec.name,
    dtype: "f32" as const,
    shape: spec.shape,
    bytes: () => tinyTensor(spec, seed + index),
  }));
  const files: CheckpointFile[] = [
    { path: "model.safetensors", tensors },
    { path: "config.json", json: configToJson(model) },
    { path: "tokenizer.json", json: TOKENIZER.toJSON() },
    { path: "tokenizer_config.json", json: tokenizerConfig(TOKENIZER) },
  ];
  await run.save({ step, score, files, keep: { last: 9 } });
}

/** A run with a checkpoint of each step; the last is current. */
export async function makeRun(
  root: string,
  name: string,
  steps: Readonly<Record<number, number>>,
  model: ModelConfig = SERVED_MODEL,
): Promise<RunWriter> {
  const run = await RunWriter.create(root, name, runInfo());
  for (const [step, seed] of Object.entries(steps)) {
    await saveModel(run, Number(step), { seed, model });
  }
  return run;
}

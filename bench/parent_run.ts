/**
 * A decoder saved as a run, for benches of what starts from one.
 *
 * @module
 */
import type { Device } from "../src/gpu/device.ts";
import { configToJson } from "../src/model/config_json.ts";
import type { Weights } from "../src/model/parameters.ts";
import type { Checkpoint } from "../src/run/checkpoint.ts";
import { Run, RunWriter } from "../src/run/run_folder.ts";
import type { Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { pretrainVariants } from "../src/train/pretrain_run.ts";

/** Saves the weights as they are, and opens them. */
export async function saveParentRun(
  device: Device,
  root: string,
  { name, weights, tokenizer }: { name: string; weights: Weights; tokenizer: Tokenizer },
): Promise<Checkpoint> {
  const run = await RunWriter.create(root, name, {
    version: 1,
    stage: "sft",
    createdAt: new Date().toISOString(),
    parent: null,
    data: [],
    config: {},
    variants: pretrainVariants(device),
    versions: {},
    adapter: null,
  });
  const tensors = weights.table.map(({ name, shape }) => ({
    name,
    shape,
    dtype: "f32" as const,
    bytes: () => weights.read(device, name),
  })).sort((a, b) => a.name < b.name ? -1 : 1);
  const files = [
    { path: "model.safetensors", tensors },
    { path: "config.json", json: configToJson(weights.config) },
    { path: "tokenizer.json", json: tokenizer.toJSON() },
  ];
  await run.save({ step: 1, files });
  run.close();
  return await (await Run.open(root, name)).checkpoint();
}

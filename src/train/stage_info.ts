/**
 * What `run.json` says of a stage of training.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import type { RunInfo } from "../run/run_folder.ts";
import { pretrainVariants } from "./pretrain_run.ts";

/** What `run.json` says of a stage. */
export function stageInfo(
  stage: string,
  device: Device,
  { config, parent, data }: { config: unknown } & Pick<RunInfo, "parent" | "data">,
): RunInfo {
  const { description, vendor, architecture } = device.info;
  return {
    version: 1,
    stage,
    createdAt: new Date().toISOString(),
    parent,
    data,
    config: JSON.parse(JSON.stringify(config)),
    variants: pretrainVariants(device),
    versions: { deno: Deno.version.deno, v8: Deno.version.v8 },
    adapter: { description, vendor, architecture },
  };
}

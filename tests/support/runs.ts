/**
 * Runs and checkpoints for tests.
 *
 * @module
 */

import type { CheckpointFile } from "../../src/run/checkpoint.ts";
import type { RunInfo } from "../../src/run/run_folder.ts";

/** A `run.json`. */
export function runInfo(more: Partial<RunInfo> = {}): RunInfo {
  return {
    version: 1,
    stage: "pretrain",
    createdAt: "2026-01-02T03:04:05.678Z",
    parent: null,
    data: [{ name: "a.txt", sha256: "ab".repeat(32), tokens: 1000 }],
    config: { model: { layers: 2 } },
    variants: { "128x128": "subgroup" },
    versions: { deno: Deno.version.deno },
    adapter: null,
    ...more,
  };
}

/** The files of a checkpoint, each of which says the same number. */
export function checkpointFiles(value: number, elements = 1000): CheckpointFile[] {
  const tensor = (name: string) => ({
    name,
    dtype: "f32" as const,
    shape: [elements],
    bytes: () => new Float32Array(elements).fill(value),
  });
  return [
    { path: "model.safetensors", tensors: [tensor("a"), tensor("b")], metadata: { format: "pt" } },
    { path: "config.json", json: { value } },
    { path: "trainer/moments.safetensors", tensors: [tensor("m")] },
    { path: "trainer/state.json", json: value },
    { path: "notes.txt", text: `${value}\n` },
  ];
}

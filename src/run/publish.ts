/**
 * A checkpoint of one run as a version of another: what was trained elsewhere is served under the
 * name that clients know, beside the versions that were there before.
 *
 * @module
 */
import type { Checkpoint, CheckpointFile } from "./checkpoint.ts";
import { RunWriter } from "./run_folder.ts";

const MODEL = "model.safetensors";
/** Files that serving reads, beside the weights. */
const FILES = ["config.json", "tokenizer.json", "tokenizer_config.json", "head.json"];

/**
 * Copies what serving needs of a checkpoint into a run, after its last one. `current` stays:
 * whoever serves points it there. `origin.json` of the new version says where it comes from.
 *
 * @param target `root`: folder of all runs; `run`: the one that gets a version; `steps`: how far it
 * is from the last version
 * @returns its step
 * @throws {CannotError} When another process writes the run, or the disk is full.
 */
export async function publish(
  { run, checkpoint }: { run: string; checkpoint: Checkpoint },
  target: { root: string; run: string; steps: number },
): Promise<number> {
  const writer = await RunWriter.open(target.root, target.run);
  try {
    const step = Math.max(...await writer.steps(), 0) + Math.max(1, target.steps);
    const source = checkpoint.tensors(MODEL);
    try {
      const names = [...source.tensors.keys()].sort();
      const tensors = names.map((name) => {
        const { dtype, shape } = source.info(name);
        return { name, dtype, shape, bytes: () => source.bytes(name) };
      });
      const weights = checkpoint.manifest.files[MODEL]!.sha256;
      const files: CheckpointFile[] = [
        { path: MODEL, tensors, metadata: { format: "pt" } },
        { path: "origin.json", json: { run, step: checkpoint.step, weights } },
      ];
      for (const path of FILES) {
        if (checkpoint.has(path)) files.push({ path, text: await checkpoint.text(path) });
      }
      await writer.save({ step, files, current: false, keep: { last: Infinity } });
    } finally {
      source.close();
    }
    return step;
  } finally {
    writer.close();
  }
}

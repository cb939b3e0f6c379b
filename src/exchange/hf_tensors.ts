/**
 * The tensors of a Hugging Face folder: one `model.safetensors`, or shards and their index.
 *
 * @module
 */
import { join } from "node:path";
import { CannotError, orCannot } from "../config/cannot.ts";
import { exists } from "../run/atomic.ts";
import { type ElementRange, openSafetensors, type Safetensors } from "../run/safetensors.ts";
import type { TensorInfo } from "../run/safetensors.ts";
import { duplicateKey } from "../run/json.ts";

const WHOLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

/** Open files of tensors, read as one. Who opens them closes them. */
export class HfTensors {
  /** Number of files. */
  readonly shards: number;
  readonly #files: readonly Safetensors[];
  readonly #fileOf: ReadonlyMap<string, Safetensors>;

  /** Made by {@linkcode openHfTensors}. */
  constructor(files: readonly Safetensors[], fileOf: ReadonlyMap<string, Safetensors>) {
    this.shards = files.length;
    this.#files = files;
    this.#fileOf = fileOf;
  }

  /** Names of all tensors. */
  get names(): string[] {
    return [...this.#fileOf.keys()];
  }

  /** What is known of a tensor. @throws {RangeError} on a name that is not there */
  info(name: string): TensorInfo {
    return this.#file(name).info(name);
  }

  /** Elements as f32. @throws {CannotError} when they are no floats */
  floats(name: string, range: ElementRange = {}): Float32Array<ArrayBuffer> {
    return this.#file(name).floats(name, range);
  }

  /** Gives the files back. */
  close(): void {
    for (const file of this.#files) file.close();
  }

  #file(name: string): Safetensors {
    const file = this.#fileOf.get(name);
    if (file === undefined) throw new RangeError(`Cannot read "${name}": want a tensor: none is`);
    return file;
  }
}

/**
 * Opens the tensors of a folder, as `transformers` would: the single file first, else the shards.
 *
 * @throws {CannotError} when there are none, one is damaged, or the index does not fit the shards
 */
export async function openHfTensors(folder: string, act: string): Promise<HfTensors> {
  if (await exists(join(folder, WHOLE))) {
    const file = openSafetensors(join(folder, WHOLE));
    return new HfTensors([file], new Map([...file.tensors.keys()].map((name) => [name, file])));
  }
  if (!await exists(join(folder, INDEX))) {
    const pickled = await exists(join(folder, "pytorch_model.bin")) ||
      await exists(join(folder, "pytorch_model.bin.index.json"));
    const state = pickled
      ? "it has only pytorch_model.bin, which may hold programs"
      : "it has none";
    throw new CannotError(act, `want ${WHOLE} or ${INDEX}`, state);
  }
  const shardOf = await readIndex(join(folder, INDEX), act);
  const files = new Map<string, Safetensors>();
  try {
    const fileOf = new Map<string, Safetensors>();
    for (const shard of new Set(shardOf.values())) {
      const file = openSafetensors(join(folder, shard));
      files.set(shard, file);
      for (const name of file.tensors.keys()) {
        // Also finds a tensor that two shards have: the index names one of them.
        if (shardOf.get(name) !== shard) {
          const state = `its index has it in ${shardOf.get(name) ?? "none"}`;
          throw new CannotError(act, `want "${name}" of ${shard} in the index`, state);
        }
        fileOf.set(name, file);
      }
    }
    for (const [name, shard] of shardOf) {
      if (fileOf.has(name)) continue;
      throw new CannotError(act, `want "${name}" in ${shard}`, "it is not there");
    }
    return new HfTensors([...files.values()], fileOf);
  } catch (error) {
    for (const file of files.values()) file.close();
    throw error;
  }
}

/** The shard of each tensor, by its name. */
async function readIndex(path: string, act: string): Promise<Map<string, string>> {
  const text = await orCannot(act, `want ${INDEX}`, () => Deno.readTextFile(path));
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new CannotError(act, `want JSON in ${INDEX}`, (error as Error).message, { cause: error });
  }
  const map = (content as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw new CannotError(act, `want a weight_map in ${INDEX}`, "it has none");
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) {
    throw new CannotError(act, `want each name once in ${INDEX}`, `"${twice}" is there twice`);
  }
  const shardOf = new Map<string, string>();
  for (const [name, shard] of Object.entries(map)) {
    // A name alone: an index must not lead out of its folder.
    if (typeof shard !== "string" || !/^[\w-][\w.-]*\.safetensors$/.test(shard)) {
      const want = `want the name of a .safetensors file for "${name}" in ${INDEX}`;
      throw new CannotError(act, want, `got ${JSON.stringify(shard)}`);
    }
    shardOf.set(name, shard);
  }
  return shardOf;
}

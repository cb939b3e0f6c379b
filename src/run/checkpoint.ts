/**
 * A checkpoint: a folder of tensors and small files, with a manifest of their sizes and hashes.
 * What is in them is the caller's.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import * as z from "zod";
import { CannotError, orCannot } from "../config/cannot.ts";
import { exists, settledFolder, writeFolderAtomic, type Written } from "./atomic.ts";
import { fileAccess } from "./random_access.ts";
import {
  openSafetensors,
  type Safetensors,
  type TensorSource,
  writeSafetensors,
} from "./safetensors.ts";

/** Name of the manifest in the checkpoint's folder. */
export const MANIFEST = "manifest.json";

/** One file of a checkpoint; `path` may have folders: `trainer/state.json`. */
export type CheckpointFile =
  & { readonly path: string }
  & (
    | {
      readonly tensors: Iterable<TensorSource>;
      readonly metadata?: Readonly<Record<string, string>>;
    }
    | { readonly json: unknown }
    | { readonly text: string }
  );

/** What `manifest.json` says. */
export interface Manifest extends CheckpointState {
  /** Of the format. */
  readonly version: 1;
  /** Every file but the manifest, by its path in the folder. */
  readonly files: Readonly<Record<string, Written>>;
  /** Of this manifest without this field. */
  readonly sha256: string;
}

const manifestSchema: z.ZodType<Manifest> = z.strictObject({
  version: z.literal(1),
  step: z.int().min(0),
  score: z.number().nullable(),
  metricsBytes: z.int().min(0),
  files: z.record(
    z.string(),
    z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/), sizeBytes: z.int().min(0) }),
  ),
  sha256: z.string(),
});

/** A saved checkpoint. */
export class Checkpoint {
  /** Its folder. */
  readonly path: string;
  /** What its manifest says. */
  readonly manifest: Manifest;

  /** Made by {@linkcode openCheckpoint}. */
  constructor(path: string, manifest: Manifest) {
    this.path = path;
    this.manifest = manifest;
  }

  /** Step of the run at which it was saved. */
  get step(): number {
    return this.manifest.step;
  }

  /** Whether it has such a file. */
  has(name: string): boolean {
    return Object.hasOwn(this.manifest.files, name);
  }

  /** Opens a file of tensors; who opens it closes it. */
  tensors(name: string): Safetensors {
    return openSafetensors(this.#pathOf(name));
  }

  /** The text of a file. */
  async text(name: string): Promise<string> {
    const path = this.#pathOf(name);
    return await orCannot(`read ${path}`, "want a readable file", () => Deno.readTextFile(path));
  }

  /** The value in a JSON file. */
  async json(name: string): Promise<unknown> {
    return JSON.parse(await this.text(name));
  }

  #pathOf(name: string): string {
    if (this.has(name)) return join(this.path, name);
    throw new CannotError(
      `read ${this.path}`,
      `want a file ${name}`,
      `it has ${Object.keys(this.manifest.files).join(", ")}`,
    );
  }
}

/** What belongs to a checkpoint beside its files. */
export interface CheckpointState {
  /** Step of the run. */
  readonly step: number;
  /** Lower is better; null where nothing was measured. */
  readonly score: number | null;
  /** Length of the run's metrics at this moment. */
  readonly metricsBytes: number;
}

/** Writes a checkpoint's folder, whole or not at all. @throws {RangeError} on a bad file name */
export async function writeCheckpoint(
  path: string,
  state: CheckpointState,
  files: Iterable<CheckpointFile>,
): Promise<void> {
  await writeFolderAtomic(path, async (folder) => {
    const written: Record<string, Written> = {};
    for (const file of files) {
      checkName(file.path, Object.keys(written));
      written[file.path] = await folder.file(file.path, async (draft) => {
        if ("tensors" in file) return await writeSafetensors(draft, file.tensors, file);
        const text = "text" in file ? file.text : JSON.stringify(file.json, null, 2) + "\n";
        await draft.write(new TextEncoder().encode(text));
      });
    }
    const text = manifestText({ version: 1, ...state, files: written });
    await folder.file(MANIFEST, (draft) => draft.write(new TextEncoder().encode(text)));
  });
}

function checkName(name: string, taken: string[]): void {
  const parts = name.split("/");
  const isBad = parts.some((part) => !/^[\w-][\w.-]*$/.test(part)) || name === MANIFEST;
  if (isBad || taken.includes(name)) {
    throw new RangeError(
      `Cannot write a checkpoint: want names of its own below it: got "${name}"`,
    );
  }
}

function manifestText(manifest: Omit<Manifest, "sha256">): string {
  const { version, step, score, metricsBytes, files } = manifest;
  const sorted = Object.fromEntries(
    Object.keys(files).sort().map((name) => {
      const { sha256, sizeBytes } = files[name]!;
      return [name, { sha256, sizeBytes }];
    }),
  );
  const body = { version, step, score, metricsBytes, files: sorted };
  const sha256 = createHash("sha256").update(JSON.stringify(body)).digest("hex");
  return JSON.stringify({ ...body, sha256 }, null, 2) + "\n";
}

/** Options of {@linkcode openCheckpoint}. */
export interface OpenOptions {
  /** Read every file and compare its hash, or only the sizes. @default "hash" */
  verify?: "hash" | "size";
}

/**
 * Opens a checkpoint's folder and checks it against its manifest.
 *
 * @throws {CannotError} naming the file that is missing, cut off or altered
 */
export async function openCheckpoint(
  target: string,
  options: OpenOptions = {},
): Promise<Checkpoint> {
  const act = `read checkpoint ${target}`;
  const path = await settledFolder(target);
  if (path === undefined) throw new CannotError(act, "want a folder", "there is none");
  const manifest = await readManifest(path, act);
  if (String(manifest.step) !== basename(target)) {
    throw new CannotError(act, `want step ${basename(target)}`, `it is of step ${manifest.step}`);
  }
  for (const [name, written] of Object.entries(manifest.files)) {
    await checkFile(join(path, name), written, act, options.verify ?? "hash");
  }
  return new Checkpoint(path, manifest);
}

/** Reads a manifest and checks that nobody altered it. */
export async function readManifest(
  path: string,
  act = `read checkpoint ${path}`,
): Promise<Manifest> {
  const file = join(path, MANIFEST);
  const text = await orCannot(act, `want ${MANIFEST}`, () => Deno.readTextFile(file));
  let manifest: Manifest;
  try {
    manifest = manifestSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new CannotError(act, `want ${MANIFEST} as it was written`, "it was altered or cut off", {
      cause: error,
    });
  }
  if (manifestText(manifest) === text) return manifest;
  throw new CannotError(act, `want ${MANIFEST} as it was written`, "it was altered");
}

async function checkFile(
  path: string,
  { sha256, sizeBytes }: Written,
  act: string,
  verify: "hash" | "size",
): Promise<void> {
  if (!await exists(path)) throw new CannotError(act, `want ${basename(path)}`, "it is missing");
  const file = fileAccess(path);
  try {
    if (file.sizeBytes !== sizeBytes) {
      const how = file.sizeBytes < sizeBytes ? "cut off after" : "altered, it has";
      throw new CannotError(
        act,
        `want ${sizeBytes} bytes in ${basename(path)}`,
        `it is ${how} ${file.sizeBytes}`,
      );
    }
    if (verify === "size") return;
    const hash = createHash("sha256");
    const page = new Uint8Array(Math.min(sizeBytes, 1 << 20));
    for (let at = 0; at < sizeBytes; at += page.length) {
      const part = page.subarray(0, Math.min(page.length, sizeBytes - at));
      file.read(part, at);
      hash.update(part);
    }
    if (hash.digest("hex") === sha256) return;
    throw new CannotError(act, `want ${basename(path)} as it was written`, "its sha256 differs");
  } finally {
    file.close();
  }
}

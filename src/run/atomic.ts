/**
 * Files and folders that are replaced as one: written beside the target, synced to the disk,
 * renamed. After a crash at any instant a reader finds the old or the new whole.
 *
 * A file is replaced by one rename. A folder that exists already takes two;
 * {@linkcode settledFolder} and {@linkcode recover} know the state between them. One writer at a
 * time works in a folder (lock.ts): what it finds there with our temporary names belongs to a dead
 * one.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { CannotError, isDiskFull, systemState } from "../config/cannot.ts";
import type { ByteSink } from "./safetensors.ts";

const DRAFT = ".tmp-"; // not yet whole, or no longer wanted
const REPLACED = ".old-"; // whole, and to be used while its successor has not arrived

/** Size and content of a written file. */
export interface Written {
  /** Of the content, in hexadecimal. */
  readonly sha256: string;
  /** Length. */
  readonly sizeBytes: number;
}

/** A file being written. */
export class FileDraft implements ByteSink {
  readonly #file: Deno.FsFile;
  readonly #hash = createHash("sha256");
  #sizeBytes = 0;

  /** Creates the file. */
  constructor(path: string) {
    this.#file = Deno.openSync(path, { write: true, createNew: true });
  }

  /** Appends all of `bytes`. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    for (let at = 0; at < bytes.length;) at += await this.#file.write(bytes.subarray(at));
    this.#sizeBytes += bytes.length;
  }

  /** Replaces bytes that were written before, such as a header; the hash does not see it. */
  async patch(bytes: Uint8Array, offsetBytes: number): Promise<void> {
    await this.#file.seek(offsetBytes, Deno.SeekMode.Start);
    for (let at = 0; at < bytes.length;) at += await this.#file.write(bytes.subarray(at));
    await this.#file.seek(0, Deno.SeekMode.End);
  }

  /** Brings the file to the disk and closes it. */
  async finish(): Promise<Written> {
    try {
      await this.#file.sync();
    } finally {
      this.#file.close();
    }
    return { sha256: this.#hash.digest("hex"), sizeBytes: this.#sizeBytes };
  }

  /** Closes it as it is. */
  abandon(): void {
    try {
      this.#file.close();
    } catch {
      // it was closed already
    }
  }
}

/** A folder being written. */
export class FolderDraft {
  /** Where it is for now. */
  readonly path: string;
  readonly #folders = new Set<string>();

  /** Creates the folder. */
  constructor(path: string) {
    this.path = path;
    Deno.mkdirSync(path);
    this.#folders.add(path);
  }

  /** Starts a file, in a folder of its own where the name has slashes. */
  open(name: string): FileDraft {
    const path = join(this.path, name);
    for (let folder = dirname(path); !this.#folders.has(folder); folder = dirname(folder)) {
      Deno.mkdirSync(folder, { recursive: true });
      this.#folders.add(folder);
    }
    return new FileDraft(path);
  }

  /** Writes one file. */
  async file(name: string, fill: (file: FileDraft) => Promise<void>): Promise<Written> {
    const file = this.open(name);
    try {
      await fill(file);
      return await file.finish();
    } catch (error) {
      file.abandon();
      throw error;
    }
  }

  /** Brings the folders' own entries to the disk. */
  async sync(): Promise<void> {
    for (const folder of this.#folders) await syncFolder(folder);
  }
}

/** Writes a file so that its path has the old content or all of the new. */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array | ((file: FileDraft) => Promise<void>),
): Promise<void> {
  const draft = draftPath(path);
  await keepingPrevious(path, async () => {
    const file = new FileDraft(draft);
    try {
      if (typeof content === "function") await content(file);
      else if (typeof content === "string") await file.write(new TextEncoder().encode(content));
      else await file.write(content);
      await file.finish();
    } catch (error) {
      file.abandon();
      throw error;
    }
    await Deno.rename(draft, path);
    await syncFolder(dirname(path));
  }, () => Deno.remove(draft));
}

/**
 * Writes a folder so that its path has the old content or all of the new.
 *
 * @throws {CannotError} when the disk is full; the old content is then still there
 */
export async function writeFolderAtomic(
  path: string,
  fill: (folder: FolderDraft) => Promise<void>,
): Promise<void> {
  const draft = draftPath(path);
  await keepingPrevious(path, async () => {
    await settle(path);
    const folder = new FolderDraft(draft);
    await fill(folder);
    await folder.sync();
    const replaced = replacedPath(path);
    const isReplacing = await exists(path);
    if (isReplacing) await Deno.rename(path, replaced);
    await Deno.rename(draft, path);
    await syncFolder(dirname(path));
    if (isReplacing) await removeFolderAtomic(replaced);
  }, () => Deno.remove(draft, { recursive: true }));
}

/** Removes a folder so that it is never seen in part. */
export async function removeFolderAtomic(path: string): Promise<void> {
  const draft = draftPath(path);
  await Deno.rename(path, draft);
  await syncFolder(dirname(path));
  await Deno.remove(draft, { recursive: true });
}

/** Where the whole content of a folder is now: its path, or beside it in mid-replacement. */
export async function settledFolder(path: string): Promise<string | undefined> {
  // The second look is for a writer that ended its replacement between the first two.
  for (const candidate of [path, replacedPath(path), path]) {
    if (await exists(candidate)) return candidate;
  }
  return undefined;
}

/** Names of the folders in `parent` that are whole, those in mid-replacement too; sorted. */
export async function settledNames(parent: string): Promise<string[]> {
  const names = new Set<string>();
  for (const name of await folderNames(parent)) {
    if (name.startsWith(REPLACED)) names.add(name.slice(REPLACED.length));
    else if (!name.startsWith(".")) names.add(name);
  }
  return [...names].sort();
}

/** Ends what dead writers left in `parent`. Only for whom holds the lock. */
export async function recover(parent: string): Promise<void> {
  const leftovers: string[] = [];
  try {
    for await (const { name } of Deno.readDir(parent)) leftovers.push(name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  for (const name of leftovers) {
    if (name.startsWith(REPLACED)) await settle(join(parent, name.slice(REPLACED.length)));
    if (name.startsWith(DRAFT)) await Deno.remove(join(parent, name), { recursive: true });
  }
}

/** Brings a folder's entries to the disk: without it a rename can be undone by a power cut. */
export async function syncFolder(path: string): Promise<void> {
  if (Deno.build.os === "windows") return; // has no such call
  const folder = await Deno.open(path, { read: true });
  try {
    await folder.sync();
  } finally {
    folder.close();
  }
}

/** Whether there is anything at the path. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Ends a replacement of `path` that was cut off between its two renames, or just after them. */
async function settle(path: string): Promise<void> {
  const replaced = replacedPath(path);
  if (!await exists(replaced)) return;
  if (await exists(path)) await removeFolderAtomic(replaced);
  else await Deno.rename(replaced, path);
}

async function keepingPrevious(
  path: string,
  work: () => Promise<void>,
  cleanUp: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    await cleanUp().catch(() => {}); // it may not be there; the first error is the one to tell
    if (error instanceof CannotError || !isSystemError(error)) throw error;
    throw new CannotError(
      `write ${path}`,
      isDiskFull(error) ? "want room on the disk" : "want a folder that can be written",
      isDiskFull(error) ? "the disk is full; what was there before is kept" : systemState(error),
      { cause: error },
    );
  }
}

/** Whether the system said it, and not a mistake in a program. */
function isSystemError(error: unknown): boolean {
  return isDiskFull(error) || (error instanceof Error && /\(os error \d+\)/.test(error.message)) ||
    Object.values(Deno.errors).some((kind) => error instanceof kind);
}

async function folderNames(parent: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(parent)) if (entry.isDirectory) names.push(entry.name);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return names;
}

let draftCount = 0;

function draftPath(path: string): string {
  return join(dirname(path), `${DRAFT}${Deno.pid}-${draftCount++}-${basename(path)}`);
}

function replacedPath(path: string): string {
  return join(dirname(path), `${REPLACED}${basename(path)}`);
}

/**
 * One writer at a time. The lock is the operating system's, on an open file: it ends with its
 * process, however that dies, so there are no stale ones. The file's text only says who holds it.
 *
 * @module
 */

import { CannotError, systemState } from "../config/cannot.ts";

/** Who holds a lock. */
interface Holder {
  pid: number;
  startedAt: string;
}

/** A held lock. */
export class Lock {
  #file: Deno.FsFile | undefined;

  private constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  /**
   * Takes the lock of a file, which is created where it is missing and stays afterwards.
   *
   * @param act What cannot be done without it, for the message.
   * @throws {CannotError} when another holds it, naming the holder
   */
  static take(path: string, act: string): Lock {
    const file = openLockFile(path, act);
    if (!file.tryLockSync(true)) {
      const holder = readHolder(file);
      file.close();
      throw new CannotError(act, "want no other writer", holder);
    }
    return Lock.#held(file);
  }

  /** Takes the lock of a file, after whoever holds it. */
  static async wait(path: string, act: string): Promise<Lock> {
    const file = openLockFile(path, act);
    await file.lock(true);
    return Lock.#held(file);
  }

  static #held(file: Deno.FsFile): Lock {
    const holder: Holder = { pid: Deno.pid, startedAt: new Date().toISOString() };
    try {
      file.truncateSync();
      file.seekSync(0, Deno.SeekMode.Start);
      file.writeSync(new TextEncoder().encode(JSON.stringify(holder) + "\n"));
    } catch {
      // Held all the same: on a full disk only the name of its holder is missing.
    }
    return new Lock(file);
  }

  /** Gives the lock back; harmless when repeated. */
  release(): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

function openLockFile(path: string, act: string): Deno.FsFile {
  try {
    return Deno.openSync(path, { read: true, write: true, create: true });
  } catch (error) {
    throw new CannotError(act, `want to lock ${path}`, systemState(error), { cause: error });
  }
}

function readHolder(file: Deno.FsFile): string {
  const bytes = new Uint8Array(1000);
  const count = file.readSync(bytes) ?? 0;
  try {
    const text = new TextDecoder().decode(bytes.subarray(0, count));
    const { pid, startedAt } = JSON.parse(text) as Holder;
    return `process ${pid} has been writing since ${startedAt}`;
  } catch {
    return "a process that has just started is writing"; // between its lock and its name
  }
}

/**
 * The audit list: every change of what is served, a line of JSON each, in the order of their time.
 *
 * @module
 */
import { CannotError, orCannot } from "../config/cannot.ts";

/** What happened. */
export interface AuditEntry {
  /** When, ISO 8601. */
  readonly time: string;
  /** Kind: `version.served`, `version.removed`, `training.started`, `training.ended`. */
  readonly event: string;
  /** The run that it is about. */
  readonly run: string;
  /** Who: a request, the loop, a signal; or an API key's id. */
  readonly by: string;
  /** All else that is known. */
  readonly detail: Readonly<Record<string, unknown>>;
}

/** Name of the file in the folder of all runs. */
export const AUDIT_FILE = "audit.jsonl";

/** A file of entries. */
export class AuditLog {
  readonly #path: string;
  readonly #nowMs: () => number;
  readonly #listeners = new Set<(entry: AuditEntry) => void>();

  /** Made with its first entry. @param nowMs milliseconds since 1970 */
  constructor(path: string, nowMs: () => number = Date.now) {
    this.#path = path;
    this.#nowMs = nowMs;
  }

  /** Adds an entry; it is on the disk then. @throws {CannotError} When it cannot be written. */
  append(entry: Omit<AuditEntry, "time">): AuditEntry {
    const whole = { time: new Date(this.#nowMs()).toISOString(), ...entry };
    try {
      using file = Deno.openSync(this.#path, { append: true, create: true, read: true });
      const bytes = new TextEncoder().encode(JSON.stringify(whole) + "\n");
      // What a crash has cut off stays a line of its own.
      const size = file.statSync().size;
      const isCut = size > 0 && !endsWithNewline(file, size);
      file.writeSync(isCut ? Uint8Array.of(10, ...bytes) : bytes);
      file.syncDataSync();
    } catch (cause) {
      const state = cause instanceof Error ? cause.message : String(cause);
      throw new CannotError(`write ${this.#path}`, "want a file", state, { cause });
    }
    for (const listener of this.#listeners) listener(whole);
    return whole;
  }

  /** The last entries, the newest first. @param most so many of them */
  async list(most: number): Promise<AuditEntry[]> {
    const text = await orCannot(`read ${this.#path}`, "want a readable file", async () => {
      try {
        return await Deno.readTextFile(this.#path);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return "";
        throw error;
      }
    });
    const entries: AuditEntry[] = [];
    for (const line of text.split("\n").reverse()) {
      if (entries.length >= most) break;
      if (line === "") continue;
      try {
        entries.push(JSON.parse(line));
      } catch {
        // Cut off by a crash in the middle of it.
      }
    }
    return entries;
  }

  /** Tells of every entry. */
  listen(listener: (entry: AuditEntry) => void): void {
    this.#listeners.add(listener);
  }
}

function endsWithNewline(file: Deno.FsFile, size: number): boolean {
  const last = new Uint8Array(1);
  file.seekSync(size - 1, Deno.SeekMode.Start);
  file.readSync(last);
  return last[0] === 10;
}

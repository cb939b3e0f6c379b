/**
 * Served completions, kept so that feedback can say which tokens of which weights it is about.
 *
 * @module
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { transaction } from "./database.ts";

/** One text that was served. */
export interface CompletionRecord {
  /** Its index among the choices of the response. */
  readonly choice: number;
  /** Which of the request's prompts it continues. */
  readonly prompt: number;
  /** Chosen tokens, the one that ended it included. */
  readonly ids: readonly number[];
  /** Of each token under the model, natural logarithm. */
  readonly logProbabilities: readonly number[];
  /** As the response says. */
  readonly finishReason: string;
}

/** A response, with what made it. */
export interface RequestRecord {
  /** As the response says: `cmpl-…`. */
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
  /** Model that was asked for. */
  readonly model: string;
  /** Hex digest of its weights. */
  readonly weightsHash: string;
  /** Ids of each prompt. */
  readonly prompts: readonly (readonly number[])[];
  /** Texts of the prompts, kept only where the operator says so. */
  readonly promptTexts?: readonly string[] | undefined;
  /** Sampling parameters and the seed, as resolved; JSON. */
  readonly sampling: Readonly<Record<string, unknown>>;
  /** Identity of the API key, never the key. */
  readonly keyId?: string | undefined;
  /** The texts. */
  readonly completions: readonly CompletionRecord[];
}

/** How long and how much is kept. */
export interface Retention {
  /** Older ones go. @default 30 days */
  readonly maxAgeMs?: number;
  /** The oldest go where all take more than this. @default 1 GiB */
  readonly maxBytes?: number;
}

const DAY_MS = 86_400_000;
const DEFAULT_RETENTION: Required<Retention> = { maxAgeMs: 30 * DAY_MS, maxBytes: 2 ** 30 };
/** Requests erased in one transaction, so that no writer waits long. */
const ERASE_BATCH = 200;
/** What a row takes beside its blobs and texts: an estimate, for the size cap. */
const ROW_BYTES = 200;

/** The part of the database that keeps completions. */
export class CompletionStore {
  readonly #database: DatabaseSync;
  readonly #statements: Record<
    "request" | "completion" | "readRequest" | "readCompletions" | "erase" | "oldest" | "total",
    StatementSync
  >;
  #waiting: { record: RequestRecord; resolve: () => void; reject: (error: unknown) => void }[] = [];
  #closed = false;

  /** Prepares the statements; the database is the caller's to close. */
  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#statements = {
      request: database.prepare("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"),
      completion: database.prepare("INSERT INTO completions VALUES (?, ?, ?, ?, ?, ?)"),
      readRequest: database.prepare("SELECT * FROM requests WHERE id = ?"),
      readCompletions: database.prepare(
        "SELECT * FROM completions WHERE request = ? ORDER BY choice",
      ),
      erase: database.prepare("DELETE FROM requests WHERE id = ?"),
      oldest: database.prepare(
        "SELECT id, created_ms, size_bytes FROM requests ORDER BY created_ms LIMIT ?",
      ),
      total: database.prepare("SELECT value FROM totals WHERE name = 'completion_bytes'"),
    };
  }

  /**
   * Keeps a response. Those that come in the same turn of the event loop share one commit, which is
   * what a disk is slow at.
   *
   * @returns once it is on the disk
   * @throws {Error} When the id is there already or the disk is full; nothing of it is kept then.
   */
  save(record: RequestRecord): Promise<void> {
    if (this.#closed) return Promise.reject(new Error("Cannot save a completion: an open store"));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ record, resolve, reject });
    if (this.#waiting.length === 1) setTimeout(() => this.flush(), 0);
    return promise;
  }

  /** Commits what waits. */
  flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    if (waiting.length === 0) return;
    try {
      transaction(this.#database, () => waiting.forEach(({ record }) => this.#insert(record)));
    } catch (error) {
      if (waiting.length === 1) return waiting[0]!.reject(error);
      // One of them is at fault: each by itself, so that the others do not suffer.
      for (const one of waiting) {
        try {
          transaction(this.#database, () => this.#insert(one.record));
          one.resolve();
        } catch (ownError) {
          one.reject(ownError);
        }
      }
      return;
    }
    for (const { resolve } of waiting) resolve();
  }

  /** A response by its id, or undefined. */
  find(id: string): RequestRecord | undefined {
    const row = this.#statements.readRequest.get(id);
    if (!row) return undefined;
    const texts = row.prompt_text === null ? undefined : JSON.parse(String(row.prompt_text));
    return {
      id,
      createdMs: Number(row.created_ms),
      model: String(row.model),
      weightsHash: String(row.weights_hash),
      prompts: unpackLists(row.prompt_ids as Uint8Array),
      promptTexts: texts,
      sampling: JSON.parse(String(row.sampling)),
      keyId: row.key_id === null ? undefined : String(row.key_id),
      completions: this.#statements.readCompletions.all(id).map((completion) => ({
        choice: Number(completion.choice),
        prompt: Number(completion.prompt),
        ids: [...words(completion.ids as Uint8Array)],
        logProbabilities: [
          ...new Float32Array(words(completion.log_probabilities as Uint8Array).buffer),
        ],
        finishReason: String(completion.finish_reason),
      })),
    };
  }

  /** Erases a response and all that refers to it. @returns whether there was one */
  erase(id: string): boolean {
    return Number(this.#statements.erase.run(id).changes) > 0;
  }

  /** Bytes of all that is kept. */
  get totalBytes(): number {
    return Number(this.#statements.total.get()!.value);
  }

  /**
   * Erases what is too old, and the oldest while all is too much: one batch.
   *
   * @returns how many were erased; a full batch means that more may be left
   */
  expire(nowMs: number, retention: Retention = {}): number {
    const { maxAgeMs, maxBytes } = { ...DEFAULT_RETENTION, ...retention };
    const erased = transaction(this.#database, () => {
      let excessBytes = this.totalBytes - maxBytes;
      let count = 0;
      for (const row of this.#statements.oldest.all(ERASE_BATCH)) {
        if (Number(row.created_ms) >= nowMs - maxAgeMs && excessBytes <= 0) break;
        this.#statements.erase.run(String(row.id));
        excessBytes -= Number(row.size_bytes);
        count++;
      }
      return count;
    });
    if (erased > 0) this.#database.exec("PRAGMA incremental_vacuum");
    return erased;
  }

  /** Commits what waits, and takes no more. */
  close(): void {
    this.flush();
    this.#closed = true;
  }

  #insert(record: RequestRecord): void {
    const prompts = packLists(record.prompts);
    const texts = record.promptTexts === undefined ? null : JSON.stringify(record.promptTexts);
    const sampling = JSON.stringify(record.sampling);
    const bytes = record.completions.reduce(
      (sum, { ids }) => sum + ROW_BYTES + 8 * ids.length,
      ROW_BYTES + prompts.length + sampling.length + (texts?.length ?? 0),
    );
    this.#statements.request.run(
      record.id,
      record.createdMs,
      record.model,
      record.weightsHash,
      prompts,
      texts,
      sampling,
      record.keyId ?? null,
      bytes,
    );
    for (const { choice, prompt, ids, logProbabilities, finishReason } of record.completions) {
      this.#statements.completion.run(
        record.id,
        choice,
        prompt,
        bytesOf(Uint32Array.from(ids)),
        bytesOf(Float32Array.from(logProbabilities)),
        finishReason,
      );
    }
  }
}

/** Lists of ids as u32 words: the count of each, then its ids. */
function packLists(lists: readonly (readonly number[])[]): Uint8Array {
  return bytesOf(Uint32Array.from(lists.flatMap((list) => [list.length, ...list])));
}

function unpackLists(bytes: Uint8Array): number[][] {
  const packed = words(bytes);
  const lists: number[][] = [];
  for (let at = 0; at < packed.length;) {
    const count = packed[at]!;
    lists.push([...packed.subarray(at + 1, at + 1 + count)]);
    at += 1 + count;
  }
  return lists;
}

function bytesOf({ buffer }: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>): Uint8Array {
  return new Uint8Array(buffer);
}

/** A copy, as a blob need not be aligned. */
function words(bytes: Uint8Array): Uint32Array<ArrayBuffer> {
  return new Uint32Array(bytes.slice().buffer);
}

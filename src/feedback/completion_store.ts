/**
 * Served completions, kept so that feedback can say which tokens of which weights it is about.
 *
 * @module
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { transaction } from "./database.ts";

/** What served a completion. */
export type CompletionKind = "completion" | "chat" | "few_shot" | "cot";

/** A text that was served, and what made it. */
export interface CompletionRecord {
  /** What clients call it: `completion_id` of a choice. */
  readonly id: string;
  /** What served it. */
  readonly kind: CompletionKind;
  /** When it was asked for, seconds since 1970. */
  readonly created: number;
  /** Id of the model. */
  readonly model: string;
  /** Hex digest of its weights. */
  readonly weightsHash: string;
  /** Ids of the prompt. */
  readonly promptIds: readonly number[];
  /** Text of the prompt, where the operator wants it kept. */
  readonly prompt: string | undefined;
  /** The text that was served. */
  readonly text: string;
  /** Its tokens; an end of text and the tokens of a stop string are there, later ones not. */
  readonly tokenIds: readonly number[];
  /** Of each token under the model: log-softmax of the raw logits; kept as f32. */
  readonly logProbabilities: readonly number[];
  /** How it was sampled, seed and choice number included; JSON. */
  readonly sampling: object;
  /** The most tokens that it might have had. */
  readonly maxTokens: number;
  /** Why it ended. */
  readonly finishReason: "stop" | "length" | "content_filter";
}

/** How long and how much is kept. */
export interface Retention {
  /** Older ones go. @default 30 days */
  readonly maxAgeSeconds?: number;
  /** The oldest go where all take more than this. @default 1 GiB */
  readonly maxBytes?: number;
}

const DEFAULT_RETENTION: Required<Retention> = { maxAgeSeconds: 30 * 86_400, maxBytes: 2 ** 30 };
/** Completions erased in one transaction, so that no writer waits long. */
const ERASE_BATCH = 200;
/** What a row takes beside its blobs and texts: an estimate, for the size cap. */
const ROW_BYTES = 200;

/** The part of the database that keeps completions. */
export class CompletionStore {
  readonly #database: DatabaseSync;
  readonly #statements: Record<"insert" | "read" | "erase" | "oldest" | "total", StatementSync>;
  #waiting: { record: CompletionRecord; resolve: () => void; reject: (error: unknown) => void }[] =
    [];
  #closed = false;

  /** Prepares the statements; the database is the caller's to close. */
  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#statements = {
      insert: database.prepare(
        "INSERT INTO completions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      ),
      read: database.prepare("SELECT * FROM completions WHERE id = ?"),
      erase: database.prepare("DELETE FROM completions WHERE id = ?"),
      oldest: database.prepare(
        "SELECT id, created, size_bytes FROM completions ORDER BY created LIMIT ?",
      ),
      total: database.prepare("SELECT value FROM totals WHERE name = 'completion_bytes'"),
    };
  }

  /**
   * Keeps a completion. Those that come in the same turn of the event loop share one commit, which
   * is what a disk is slow at.
   *
   * @returns once it is on the disk
   * @throws {Error} When the id is there already or the disk is full; nothing of it is kept then.
   */
  save(record: CompletionRecord): Promise<void> {
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

  /** A completion by its id, or undefined. */
  find(id: string): CompletionRecord | undefined {
    const row = this.#statements.read.get(id);
    if (!row) return undefined;
    return {
      id,
      kind: row.kind as CompletionKind,
      created: Number(row.created),
      model: String(row.model),
      weightsHash: String(row.weights_hash),
      promptIds: [...words(row.prompt_ids as Uint8Array)],
      prompt: row.prompt === null ? undefined : textOf(row.prompt as Uint8Array),
      text: textOf(row.text as Uint8Array),
      tokenIds: [...words(row.token_ids as Uint8Array)],
      logProbabilities: [...new Float32Array(words(row.log_probabilities as Uint8Array).buffer)],
      sampling: JSON.parse(String(row.sampling)),
      maxTokens: Number(row.max_tokens),
      finishReason: row.finish_reason as CompletionRecord["finishReason"],
    };
  }

  /** Erases a completion and all that refers to it. @returns whether there was one */
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
   * @param now seconds since 1970
   * @returns how many were erased; a full batch means that more may be left
   */
  expire(now: number, retention: Retention = {}): number {
    const { maxAgeSeconds, maxBytes } = { ...DEFAULT_RETENTION, ...retention };
    const erased = transaction(this.#database, () => {
      let excessBytes = this.totalBytes - maxBytes;
      let count = 0;
      for (const row of this.#statements.oldest.all(ERASE_BATCH)) {
        if (Number(row.created) >= now - maxAgeSeconds && excessBytes <= 0) break;
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

  #insert(record: CompletionRecord): void {
    const promptIds = bytesOf(Uint32Array.from(record.promptIds));
    const tokenIds = bytesOf(Uint32Array.from(record.tokenIds));
    const logProbabilities = bytesOf(Float32Array.from(record.logProbabilities));
    const sampling = JSON.stringify(record.sampling);
    const prompt = record.prompt === undefined ? null : new TextEncoder().encode(record.prompt);
    const text = new TextEncoder().encode(record.text);
    const blobs = [promptIds, prompt ?? [], text, tokenIds, logProbabilities];
    this.#statements.insert.run(
      record.id,
      record.kind,
      record.created,
      record.model,
      record.weightsHash,
      promptIds,
      prompt,
      text,
      tokenIds,
      logProbabilities,
      sampling,
      record.maxTokens,
      record.finishReason,
      blobs.reduce((sum, { length }) => sum + length, ROW_BYTES + sampling.length),
    );
  }
}

function bytesOf({ buffer }: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>): Uint8Array {
  return new Uint8Array(buffer);
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** A copy, as a blob need not be aligned. */
function words(bytes: Uint8Array): Uint32Array<ArrayBuffer> {
  return new Uint32Array(bytes.slice().buffer);
}

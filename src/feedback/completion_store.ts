/**
 * Served completions, kept so that feedback can say which tokens of which weights it is about.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { blobOf, bytesOf, floatsOf, textOf, wordsOf } from "./blobs.ts";
import { transaction } from "./database.ts";
import { GroupCommit } from "./group_commit.ts";

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
  readonly #statements: Record<
    | "insert"
    | "read"
    | "erase"
    | "eraseFeedback"
    | "oldest"
    | "total"
    | "mark"
    | "unmark"
    | "marked",
    StatementSync
  >;
  readonly #group: GroupCommit<CompletionRecord, void>;

  /** Prepares the statements; the database is the caller's to close. */
  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#group = new GroupCommit(database, { write: (record) => this.#insert(record) });
    this.#statements = {
      insert: database.prepare(
        "INSERT INTO completions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      ),
      read: database.prepare("SELECT * FROM completions WHERE id = ?"),
      erase: database.prepare("DELETE FROM completions WHERE id = ?"),
      oldest: database.prepare(
        "SELECT id, created, size_bytes FROM completions ORDER BY created LIMIT ?",
      ),
      total: database.prepare("SELECT value FROM totals WHERE name = 'completion_bytes'"),
      eraseFeedback: database.prepare(
        "DELETE FROM feedback WHERE seq IN " +
          "(SELECT seq FROM feedback_candidates WHERE completion_id = ?)",
      ),
      mark: database.prepare("INSERT OR REPLACE INTO expired_completions VALUES (?, ?)"),
      unmark: database.prepare("DELETE FROM expired_completions WHERE expired < ?"),
      marked: database.prepare("SELECT 1 FROM expired_completions WHERE id = ?"),
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
    return this.#group.add(record);
  }

  /** Commits what waits. */
  flush(): void {
    this.#group.flush();
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
      promptIds: wordsOf(row.prompt_ids as Uint8Array),
      prompt: row.prompt === null ? undefined : textOf(row.prompt as Uint8Array),
      text: textOf(row.text as Uint8Array),
      tokenIds: wordsOf(row.token_ids as Uint8Array),
      logProbabilities: floatsOf(row.log_probabilities as Uint8Array),
      sampling: JSON.parse(String(row.sampling)),
      maxTokens: Number(row.max_tokens),
      finishReason: row.finish_reason as CompletionRecord["finishReason"],
    };
  }

  /** Whether there was a completion of this id that became too old, or too much. */
  isExpired(id: string): boolean {
    return this.#statements.marked.get(id) !== undefined;
  }

  /** Erases a completion, and all feedback that refers to it. @returns whether there was one */
  erase(id: string): boolean {
    return transaction(this.#database, () => {
      this.#statements.eraseFeedback.run(id);
      return Number(this.#statements.erase.run(id).changes) > 0;
    });
  }

  /** Bytes of all that is kept. */
  get totalBytes(): number {
    return Number(this.#statements.total.get()!.value);
  }

  /**
   * Erases what is too old, and the oldest while all is too much: one batch. Feedback on it stays,
   * as it has its own copies; that a completion expired is remembered for as long as it was kept.
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
        this.#statements.mark.run(String(row.id), Math.floor(now));
        excessBytes -= Number(row.size_bytes);
        count++;
      }
      this.#statements.unmark.run(Math.floor(now - maxAgeSeconds));
      return count;
    });
    if (erased > 0) this.#database.exec("PRAGMA incremental_vacuum");
    return erased;
  }

  /** Commits what waits, and takes no more. */
  close(): void {
    this.#group.close();
  }

  #insert(record: CompletionRecord): void {
    const promptIds = blobOf(Uint32Array.from(record.promptIds));
    const tokenIds = blobOf(Uint32Array.from(record.tokenIds));
    const logProbabilities = blobOf(Float32Array.from(record.logProbabilities));
    const sampling = JSON.stringify(record.sampling);
    const prompt = record.prompt === undefined ? null : bytesOf(record.prompt);
    const text = bytesOf(record.text);
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
      createHash("sha256").update(promptIds).digest("hex").slice(0, 32),
    );
  }
}

/**
 * Writes that share a commit: a disk is slow at those, and not at what is in them.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { transaction } from "./database.ts";

/** How a {@linkcode GroupCommit} writes. */
export interface GroupCommitOptions<Item, Result> {
  /** Writes one item inside a transaction. What it throws concerns that item alone. */
  readonly write: (item: Item) => Result;
  /**
   * Most milliseconds that an item waits for others. It waits four times as long as the last commit
   * took, so that commits take at most a fifth of the time. @default 0: what comes in one turn of
   * the event loop is written together
   */
  readonly mostWaitMs?: number;
}

interface Waiting<Item, Result> {
  readonly item: Item;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** Gathers items and writes them in one transaction. */
export class GroupCommit<Item, Result> {
  readonly #database: DatabaseSync;
  readonly #write: (item: Item) => Result;
  readonly #mostWaitMs: number;
  #waiting: Waiting<Item, Result>[] = [];
  #lastCommitMs = 0;
  #closed = false;

  /** The database is the caller's to close, after {@linkcode GroupCommit.close}. */
  constructor(database: DatabaseSync, options: GroupCommitOptions<Item, Result>) {
    this.#database = database;
    this.#write = options.write;
    this.#mostWaitMs = options.mostWaitMs ?? 0;
  }

  /**
   * Writes an item.
   *
   * @returns what `write` returned, once it is on the disk
   * @throws {Error} What `write` threw for this item; when the disk is full or the group closed.
   */
  add(item: Item): Promise<Result> {
    if (this.#closed) return Promise.reject(new Error("Cannot write: an open store: it is closed"));
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    this.#waiting.push({ item, resolve, reject });
    if (this.#waiting.length === 1) {
      setTimeout(() => this.flush(), Math.min(this.#mostWaitMs, 4 * this.#lastCommitMs));
    }
    return promise;
  }

  /** Commits what waits. */
  flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    if (waiting.length === 0) return;
    const startMs = performance.now();
    try {
      const results = transaction(
        this.#database,
        () => waiting.map(({ item }) => this.#write(item)),
      );
      this.#lastCommitMs = performance.now() - startMs;
      for (const [index, { resolve }] of waiting.entries()) resolve(results[index]!);
    } catch (error) {
      if (waiting.length === 1) return waiting[0]!.reject(error);
      // One of them is at fault: each by itself, so that the others do not suffer.
      for (const { item, resolve, reject } of waiting) {
        try {
          resolve(transaction(this.#database, () => this.#write(item)));
        } catch (ownError) {
          reject(ownError);
        }
      }
    }
  }

  /** Commits what waits, and takes no more. */
  close(): void {
    this.flush();
    this.#closed = true;
  }
}

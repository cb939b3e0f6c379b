/**
 * Feedback in the database: kept once, found, listed, erased.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { transaction } from "./database.ts";
import { conditionsOf, type FeedbackFilter } from "./feedback_filter.ts";
import type { FeedbackRecord, NewFeedback, Split } from "./feedback_record.ts";
import {
  candidateRow,
  INSERT_CANDIDATE,
  INSERT_RECORD,
  recordOf,
  recordRow,
  type Row,
} from "./feedback_rows.ts";
import { GroupCommit } from "./group_commit.ts";

/** What became of feedback. */
export interface FeedbackReceipt {
  /** Of the record, be it the one that was there before. */
  readonly id: string;
  /** Whether it is new, or was there before. */
  readonly status: "stored" | "duplicate";
  /** Pairs of a better and a worse candidate in it. */
  readonly pairs: number;
  /** Number of changes to the data, its own included. */
  readonly datasetVersion: number;
  /** Where its pairs belong. */
  readonly split: Split;
}

/** Feedback contradicts what is there; nothing of it is kept. */
export class FeedbackConflict extends Error {
  /** Shown before the message. */
  override name = "FeedbackConflict";
  /** What it contradicts: the key, or the record that it would replace. */
  readonly kind: "key" | "unknown" | "labeler" | "superseded" | "prompt";

  /** The message is for whoever sent it. */
  constructor(kind: FeedbackConflict["kind"], message: string) {
    super(message);
    this.kind = kind;
  }
}

/** A part of the records. */
export interface FeedbackPage {
  /** Goes on after the record with this number; 0 or undefined: from the start. */
  readonly after?: number | undefined;
  /** Whether later ones come first. @default false */
  readonly newestFirst?: boolean | undefined;
  /** Most records. */
  readonly limit: number;
}

/** Feedback waits this long at most for more to share a commit with. */
const MOST_WAIT_MS = 8;
/** Records read between two turns of the event loop: some milliseconds. */
const READ_BATCH = 100;

/** The part of the database that keeps feedback. */
export class FeedbackStore {
  /** What became of feedback since the store was opened. */
  readonly counts: Record<"stored" | "duplicates" | "conflicts", number> = {
    stored: 0,
    duplicates: 0,
    conflicts: 0,
  };
  readonly #database: DatabaseSync;
  readonly #statements: Record<
    | "byKey"
    | "byId"
    | "next"
    | "insert"
    | "candidate"
    | "candidates"
    | "supersede"
    | "erase"
    | "version"
    | "since"
    | "pairsAfter",
    StatementSync
  >;
  readonly #lists = new Map<string, StatementSync>();
  readonly #group: GroupCommit<NewFeedback, FeedbackReceipt | FeedbackConflict>;

  /** Prepares the statements; the database is the caller's to close. */
  constructor(database: DatabaseSync) {
    this.#database = database;
    const prepare = (sql: string) => database.prepare(sql);
    this.#statements = {
      byKey: prepare(
        "SELECT id, body_hash, pairs, dataset_version, split FROM feedback WHERE key_hash = ?",
      ),
      byId: prepare("SELECT * FROM feedback WHERE id = ?"),
      next: prepare(
        "UPDATE totals SET value = value + 1 WHERE name = 'dataset_version' RETURNING value",
      ),
      insert: prepare(INSERT_RECORD),
      candidate: prepare(INSERT_CANDIDATE),
      candidates: prepare("SELECT * FROM feedback_candidates WHERE seq = ? ORDER BY position"),
      supersede: prepare("UPDATE feedback SET superseded_by = ? WHERE id = ?"),
      erase: prepare("DELETE FROM feedback WHERE id = ?"),
      version: prepare("SELECT value FROM totals WHERE name = 'dataset_version'"),
      since: prepare("SELECT count(*) AS n FROM feedback WHERE labeler = ? AND created >= ?"),
      pairsAfter: prepare(
        "SELECT coalesce(sum(pairs), 0) AS pairs FROM feedback " +
          "WHERE dataset_version > ? AND superseded_by IS NULL",
      ),
    };
    this.#group = new GroupCommit(database, {
      write: (item) => this.#write(item),
      mostWaitMs: MOST_WAIT_MS,
    });
  }

  /**
   * Keeps feedback; the same key a second time changes nothing.
   *
   * @returns once it is on the disk
   * @throws {FeedbackConflict} When the key came with another body, or `supersedes` cannot be done.
   * @throws {Error} When the disk is full; nothing of it is kept then.
   */
  async save(item: NewFeedback): Promise<FeedbackReceipt> {
    const receipt = await this.#group.add(item);
    if (receipt instanceof FeedbackConflict) {
      this.counts.conflicts++;
      throw receipt;
    }
    this.counts[receipt.status === "stored" ? "stored" : "duplicates"]++;
    return receipt;
  }

  /** A record by its id, or undefined. */
  find(id: string): FeedbackRecord | undefined {
    const row = this.#statements.byId.get(id);
    return row && this.#record(row);
  }

  /** Pairs of a better and a worse text in records that came after so many changes. */
  pairsAfter(version: number): number {
    return Number(this.#statements.pairsAfter.get(version)!.pairs);
  }

  /** Number of changes to the data so far. */
  get datasetVersion(): number {
    return Number(this.#statements.version.get()!.value);
  }

  /** Records of a labeler since a time, in seconds since 1970. */
  countSince(labeler: string, since: number): number {
    return Number(this.#statements.since.get(labeler, since)!.n);
  }

  /** A part of the records, in the order in which they came. */
  list(filter: FeedbackFilter, page: FeedbackPage): FeedbackRecord[] {
    const { after, newestFirst = false, limit } = page;
    const { where, values } = conditionsOf(filter);
    if (after !== undefined && after > 0) {
      where.push(newestFirst ? "seq < ?" : "seq > ?");
      values.push(after);
    }
    const sql =
      `SELECT * FROM feedback ${where.length > 0 ? `WHERE ${where.join(" AND ")}` : ""} ` +
      `ORDER BY seq ${newestFirst ? "DESC" : "ASC"} LIMIT ?`;
    let statement = this.#lists.get(sql);
    if (!statement) this.#lists.set(sql, statement = this.#database.prepare(sql));
    return statement.all(...values, limit).map((row) => this.#record(row));
  }

  /** All records of a filter. Other work goes on in between; what is stored meanwhile comes too. */
  async *records(filter: FeedbackFilter = {}): AsyncGenerator<FeedbackRecord, void> {
    for (let after = 0;;) {
      const records = this.list(filter, { after, limit: READ_BATCH });
      yield* records;
      if (records.length < READ_BATCH) return;
      after = records.at(-1)!.seq;
      await setImmediate(); // a timer would take 2 ms
    }
  }

  /**
   * Erases a record and those that it replaced, so that none of them comes back.
   *
   * @returns ids of all that was erased; none where there was no such record
   */
  erase(id: string): string[] {
    return this.#erasing(() => {
      const erased: string[] = [];
      for (let next: string | undefined = id; next !== undefined;) {
        const row: Row | undefined = this.#statements.byId.get(next);
        if (!row) break;
        this.#statements.erase.run(next);
        erased.push(next);
        next = row.supersedes === null ? undefined : String(row.supersedes);
      }
      return erased;
    });
  }

  /** Erases all records of a filter, replaced ones too. @returns how many */
  eraseAll(filter: FeedbackFilter): number {
    const { where, values } = conditionsOf({ ...filter, withSuperseded: true });
    if (where.length === 0) throw new RangeError("Cannot erase feedback: a filter: got none");
    const sql = `DELETE FROM feedback WHERE ${where.join(" AND ")}`;
    return this.#erasing(() => Number(this.#database.prepare(sql).run(...values).changes));
  }

  /** Commits what waits. */
  flush(): void {
    this.#group.flush();
  }

  /** Commits what waits, and takes no more. */
  close(): void {
    this.#group.close();
  }

  /** What is erased is overwritten, in the write-ahead log too. */
  #erasing<T>(work: () => T): T {
    this.flush();
    this.#database.exec("PRAGMA secure_delete = ON");
    try {
      return transaction(this.#database, work);
    } finally {
      this.#database.exec("PRAGMA secure_delete = OFF; PRAGMA wal_checkpoint(TRUNCATE)");
    }
  }

  /** A conflict is returned: the others of the transaction are not to suffer. */
  #write(item: NewFeedback): FeedbackReceipt | FeedbackConflict {
    const known = this.#statements.byKey.get(item.keyHash);
    if (known) return receiptOf(known, item);
    const fault = this.#faultOf(item);
    if (fault) return fault;
    const datasetVersion = Number(this.#statements.next.get()!.value);
    const row = recordRow(item, datasetVersion);
    const seq = this.#statements.insert.run(...row).lastInsertRowid;
    for (const [position, candidate] of item.candidates.entries()) {
      this.#statements.candidate.run(...candidateRow(seq, position, candidate));
    }
    if (item.supersedes !== undefined) this.#statements.supersede.run(item.id, item.supersedes);
    const pairs = Number(row[PAIRS_AT]);
    return { id: item.id, status: "stored", pairs, datasetVersion, split: item.split };
  }

  /** Why an item cannot replace what it says. */
  #faultOf({ supersedes, labeler, promptHash }: NewFeedback): FeedbackConflict | undefined {
    if (supersedes === undefined) return undefined;
    const old = this.#statements.byId.get(supersedes);
    const act = `Cannot replace ${supersedes}`;
    if (!old) return new FeedbackConflict("unknown", `${act}: there is no such feedback`);
    if (old.labeler !== labeler.hash) {
      return new FeedbackConflict(
        "labeler",
        `${act}: want feedback of one labeler: it is another's`,
      );
    }
    if (old.superseded_by !== null) {
      const state = `${old.superseded_by} did already`;
      return new FeedbackConflict(
        "superseded",
        `${act}: want a record that none replaced: ${state}`,
      );
    }
    if (old.prompt_hash !== promptHash) {
      return new FeedbackConflict(
        "prompt",
        `${act}: want feedback on one prompt: it is on another`,
      );
    }
    return undefined;
  }

  #record(row: Row): FeedbackRecord {
    return recordOf(row, this.#statements.candidates.all(row.seq as number));
  }
}

/** Place of `pairs` in the row of a record. */
const PAIRS_AT = 10;

function receiptOf(row: Row, item: NewFeedback): FeedbackReceipt | FeedbackConflict {
  if (!isSame(row.body_hash as Uint8Array, item.bodyHash)) {
    const message = "Cannot store the feedback: want one body for one Idempotency-Key: " +
      `the key came with another before, as ${row.id}; a change is new feedback with 'supersedes'`;
    return new FeedbackConflict("key", message);
  }
  return {
    id: String(row.id),
    status: "duplicate",
    pairs: Number(row.pairs),
    datasetVersion: Number(row.dataset_version),
    split: row.split as Split,
  };
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

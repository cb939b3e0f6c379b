/**
 * The one SQLite database of a server: opened, brought to the newest schema, and its transactions.
 *
 * Write-ahead log and `synchronous = FULL`: what a commit returned from is on the disk. Several
 * servers may share the file; a writer waits for another.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { CannotError } from "../config/cannot.ts";

/** How long a writer waits for another process before it fails. */
const BUSY_MS = 5_000;

/**
 * Steps from an empty database to the newest schema; step i leads to version i + 1. Steps that were
 * released are never changed, only added to.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE completions (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    created INTEGER NOT NULL,
    model TEXT NOT NULL,
    weights_hash TEXT NOT NULL,
    prompt_ids BLOB NOT NULL,
    prompt BLOB, -- texts are UTF-8 blobs: the driver ends a TEXT at its first NUL
    text BLOB NOT NULL,
    token_ids BLOB NOT NULL,
    log_probabilities BLOB NOT NULL,
    sampling TEXT NOT NULL,
    max_tokens INTEGER NOT NULL,
    finish_reason TEXT NOT NULL,
    size_bytes INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX completions_by_age ON completions (created);
  CREATE TABLE totals (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO totals VALUES ('completion_bytes', 0);
  CREATE TRIGGER completions_added AFTER INSERT ON completions BEGIN
    UPDATE totals SET value = value + new.size_bytes WHERE name = 'completion_bytes';
  END;
  CREATE TRIGGER completions_gone AFTER DELETE ON completions BEGIN
    UPDATE totals SET value = value - old.size_bytes WHERE name = 'completion_bytes';
  END;
  `,
  `
  ALTER TABLE completions ADD COLUMN prompt_key TEXT; -- the same for the same ids of a prompt
  CREATE INDEX completions_by_prompt ON completions (prompt_key, created);
  CREATE TABLE expired_completions (id TEXT PRIMARY KEY, expired INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
  CREATE INDEX expired_completions_by_age ON expired_completions (expired);

  CREATE TABLE feedback (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice: a reader goes on after the last
    id TEXT NOT NULL UNIQUE,
    key_hash BLOB NOT NULL UNIQUE, -- of the idempotency key, within an API key
    body_hash BLOB NOT NULL,
    type TEXT NOT NULL,
    created INTEGER NOT NULL,
    labeler TEXT NOT NULL, -- a salted hash
    labeler_kind TEXT NOT NULL,
    prompt_hash TEXT NOT NULL, -- salted
    split TEXT NOT NULL,
    confidence INTEGER,
    pairs INTEGER NOT NULL,
    dataset_version INTEGER NOT NULL,
    supersedes TEXT,
    superseded_by TEXT,
    prompt BLOB,
    prompt_ids BLOB,
    judgement TEXT NOT NULL, -- JSON
    details BLOB NOT NULL -- JSON
  ) STRICT;
  CREATE INDEX feedback_by_labeler ON feedback (labeler, created);
  CREATE INDEX feedback_by_prompt ON feedback (prompt_hash);
  CREATE TABLE feedback_candidates (
    seq INTEGER NOT NULL REFERENCES feedback (seq) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    completion_id TEXT,
    text BLOB NOT NULL,
    model TEXT,
    sampling TEXT,
    weights_hash TEXT,
    token_ids BLOB,
    log_probabilities BLOB,
    finish_reason TEXT,
    PRIMARY KEY (seq, position)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX feedback_by_completion ON feedback_candidates (completion_id)
    WHERE completion_id IS NOT NULL;
  INSERT INTO totals VALUES ('dataset_version', 0);
  CREATE TRIGGER feedback_gone AFTER DELETE ON feedback BEGIN
    UPDATE totals SET value = value + 1 WHERE name = 'dataset_version';
  END;
  `,
];

/** Opens the file, made where there is none. @throws {CannotError} when it is not one of ours */
export function openDatabase(path: string): DatabaseSync {
  const act = `open the database ${path}`;
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: BUSY_MS, enableForeignKeyConstraints: true });
    // Before the first table: pages that deletion frees can then be given back little by little.
    database.exec("PRAGMA auto_vacuum = INCREMENTAL");
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    migrate(database, act);
    return database;
  } catch (error) {
    database?.close();
    if (error instanceof CannotError) throw error;
    const state = error instanceof Error ? error.message : String(error);
    throw new CannotError(act, "want a SQLite database of this program", state, { cause: error });
  }
}

function migrate(database: DatabaseSync, act: string): void {
  if (versionOf(database) === MIGRATIONS.length) return;
  transaction(database, () => {
    const version = versionOf(database); // another process may have been quicker
    if (version > MIGRATIONS.length) {
      const want = `want schema ${MIGRATIONS.length} or older`;
      throw new CannotError(act, want, `schema ${version}: a newer version of the program made it`);
    }
    for (const step of MIGRATIONS.slice(version)) database.exec(step);
    database.exec(`PRAGMA user_version = ${MIGRATIONS.length}`);
  });
}

function versionOf(database: DatabaseSync): number {
  return Number(database.prepare("PRAGMA user_version").get()!.user_version);
}

/** Runs `work` in one transaction: all of it is on the disk when this returns, or none of it. */
export function transaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec("BEGIN IMMEDIATE");
  try {
    const result = work();
    database.exec("COMMIT");
    return result;
  } catch (error) {
    // The statement that failed may have ended the transaction by itself, as a full disk does.
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

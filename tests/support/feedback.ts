/**
 * A database of feedback in memory, and the routes over it.
 *
 * @module
 */
import { type CompletionRecord, CompletionStore } from "../../src/feedback/completion_store.ts";
import { openDatabase } from "../../src/feedback/database.ts";
import { type Feedback, type FeedbackOptions, openFeedback } from "../../src/feedback/feedback.ts";
import type { NewFeedback } from "../../src/feedback/feedback_record.ts";
import { digestOf } from "../../src/feedback/canonical.ts";
import { LabelerIds } from "../../src/feedback/labeler_ids.ts";
import { FakeServe, type FakeServeOptions, TOKENIZER } from "./serve.ts";

/** Names that are the same in every run. */
export const LABELERS = new LabelerIds(new Uint8Array(32));

/** A completion as it was served: "hello" and then a text. */
export function completion(id: string, more: Partial<CompletionRecord> = {}): CompletionRecord {
  const { text = `answer ${id}`, ...rest } = more;
  const tokenIds = TOKENIZER.encode(text);
  return {
    id,
    kind: "completion",
    created: 1_700_000_000,
    model: "tiny",
    weightsHash: "ab".repeat(32),
    promptIds: TOKENIZER.encode("hello"),
    prompt: "hello",
    text,
    tokenIds,
    logProbabilities: tokenIds.map((_, i) => -0.5 - i),
    sampling: { temperature: 0.5, seed: 7 },
    maxTokens: 16,
    finishReason: "stop",
    ...rest,
  };
}

/** A comparison that a route has checked. */
export function comparison(id: string, more: Partial<NewFeedback> = {}): NewFeedback {
  return {
    id,
    keyHash: digestOf("key", id),
    bodyHash: digestOf("body", id),
    created: 1_700_000_000,
    labeler: { hash: LABELERS.labeler("ann"), kind: "human" },
    promptHash: LABELERS.prompt("hello"),
    split: "train",
    prompt: "hello",
    promptIds: undefined,
    candidates: [{ text: "a" }, { text: "b" }],
    judgement: { type: "comparison", chosen: 0, rejected: 1, outcome: "chosen" },
    confidence: undefined,
    supersedes: undefined,
    details: {},
    ...more,
  };
}

/** What is in the memory, until it is disposed of. */
export interface OpenedFeedback extends Disposable {
  /** The parts. */
  readonly feedback: Feedback;
}

/** A new database, with labelers that are bounded by nothing much. */
export function memoryFeedback(options: FeedbackOptions = {}): OpenedFeedback {
  const database = openDatabase(":memory:");
  const completions = new CompletionStore(database);
  const bounds = { ratePerSecond: 1e6, burst: 1e6, perDay: 1e9 };
  const feedback = openFeedback(database, completions, { labelers: LABELERS, bounds, ...options });
  return {
    feedback,
    [Symbol.dispose]() {
      feedback.store.close();
      completions.close();
      database.close();
    },
  };
}

/** The routes over a database in memory. */
export class FeedbackServe extends FakeServe implements Disposable {
  /** The database. */
  readonly feedback: Feedback;
  readonly #opened: OpenedFeedback;

  /** With completions that were served before. */
  constructor(options: FakeServeOptions & { bounds?: FeedbackOptions["bounds"] } = {}) {
    const { bounds, ...rest } = options;
    const opened = memoryFeedback({
      ...(bounds ? { bounds } : {}),
      nowMs: rest.nowMs ?? (() => 1_700_000_000_500),
    });
    super({ ...rest, feedback: opened.feedback });
    this.feedback = opened.feedback;
    this.#opened = opened;
  }

  /** Keeps completions as if they had been served. */
  async serveBefore(...records: CompletionRecord[]): Promise<void> {
    await Promise.all(records.map((record) => this.feedback.completions.save(record)));
  }

  /** Closes the database. */
  [Symbol.dispose](): void {
    this.#opened[Symbol.dispose]();
  }
}

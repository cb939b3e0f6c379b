/**
 * What the routes of feedback stand on, put together.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import type { CompletionStore } from "./completion_store.ts";
import { FeedbackStore } from "./feedback_store.ts";
import { LabelQueue } from "./label_queue.ts";
import { LabelerIds } from "./labeler_ids.ts";
import { TrustedData } from "./trusted_data.ts";
import { DEFAULT_BOUNDS, type LabelerBounds, LabelerLimits } from "./labeler_limits.ts";

/** Feedback of one server: where it is kept, whose it is, and how much may come. */
export interface Feedback {
  /** Where it is kept. */
  readonly store: FeedbackStore;
  /** Where the completions are that it may be about. */
  readonly completions: CompletionStore;
  /** Names for labelers and prompts. */
  readonly labelers: LabelerIds;
  /** Bounds of each labeler. */
  readonly limits: LabelerLimits;
  /** What is to be labelled next. */
  readonly queue: LabelQueue;
  /** Pairs that can be trusted, and labelers who can. */
  readonly trusted: TrustedData;
}

/** How feedback is taken in. */
export interface FeedbackOptions {
  /** Names for labelers and prompts. @default with a new salt */
  readonly labelers?: LabelerIds;
  /** Bounds of each labeler. @default {@linkcode DEFAULT_BOUNDS} */
  readonly bounds?: LabelerBounds;
  /** The time, milliseconds since 1970. @default Date.now */
  readonly nowMs?: () => number;
}

/** Puts the parts together, over a database that {@linkcode openDatabase} opened. */
export function openFeedback(
  database: DatabaseSync,
  completions: CompletionStore,
  options: FeedbackOptions = {},
): Feedback {
  const { labelers = new LabelerIds(), bounds = DEFAULT_BOUNDS, nowMs = Date.now } = options;
  const store = new FeedbackStore(database);
  const limits = new LabelerLimits(
    (labeler, since) => store.countSince(labeler, since),
    bounds,
    nowMs,
  );
  const queue = new LabelQueue(database, { nowMs });
  return { store, completions, labelers, limits, queue, trusted: new TrustedData(store) };
}

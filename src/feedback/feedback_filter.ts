/**
 * Which records of feedback are read or erased.
 *
 * @module
 */
import type { SQLInputValue } from "node:sqlite";
import type { FeedbackType, Split } from "./feedback_record.ts";

/** Which records; all that is given must hold. */
export interface FeedbackFilter {
  /** Made at this time or later, seconds since 1970. */
  readonly since?: number | undefined;
  /** Hash of the labeler. */
  readonly labeler?: string | undefined;
  /** Id of a model that wrote one of the candidates. */
  readonly model?: string | undefined;
  /** Id of a completion that is one of the candidates. */
  readonly completionId?: string | undefined;
  /** At least this sure; records that do not say are left out. */
  readonly minConfidence?: number | undefined;
  /** Part of the data. */
  readonly split?: Split | undefined;
  /** Kind of feedback. */
  readonly type?: FeedbackType | undefined;
  /** Hash of the prompt. */
  readonly promptHash?: string | undefined;
  /** Whether those that were replaced come too. @default false */
  readonly withSuperseded?: boolean | undefined;
}

const CANDIDATES = "EXISTS (SELECT 1 FROM feedback_candidates AS c WHERE c.seq = feedback.seq AND ";

/** A filter as conditions on rows of `feedback`, and the values in them. */
export function conditionsOf(filter: FeedbackFilter): { where: string[]; values: SQLInputValue[] } {
  const where: string[] = filter.withSuperseded ? [] : ["superseded_by IS NULL"];
  const values: SQLInputValue[] = [];
  const add = (condition: string, value: string | number | undefined) => {
    if (value === undefined) return;
    where.push(condition);
    values.push(value);
  };
  add("created >= ?", filter.since);
  add("labeler = ?", filter.labeler);
  add(`${CANDIDATES} c.model = ?)`, filter.model);
  add(`${CANDIDATES} c.completion_id = ?)`, filter.completionId);
  add("confidence >= ?", filter.minConfidence);
  add("split = ?", filter.split);
  add("type = ?", filter.type);
  add("prompt_hash = ?", filter.promptHash);
  return { where, values };
}

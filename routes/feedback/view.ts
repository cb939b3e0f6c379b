/**
 * Records as clients see them, and filters as the store takes them.
 *
 * @module
 */
import type { Context } from "hono";
import type * as z from "zod";
import type { Feedback } from "../../src/feedback/feedback.ts";
import type { FeedbackRecord } from "../../src/feedback/feedback_record.ts";
import type { FeedbackFilter } from "../../src/feedback/feedback_filter.ts";
import { invalidBody } from "../errors.ts";
import { labelerName } from "./resolve.ts";
import type { FeedbackBody, FilterQuery } from "../schemas/feedback_read.ts";

/**
 * The parameters of a query, checked.
 *
 * @throws {ApiError} 400 when one does not fit.
 */
export function readQuery<S extends z.ZodType>(c: Context, schema: S): z.output<S> {
  const query = c.req.query();
  const result = schema.safeParse(query);
  if (!result.success) throw invalidBody(result.error, query);
  return result.data;
}

/** A query's filter. */
export function filterOf(query: FilterQuery, { labelers }: Feedback): FeedbackFilter {
  const { since, labeler, model, min_confidence, split, type } = query;
  return {
    since,
    labeler: labeler === undefined ? undefined : knownLabeler(labeler, labelers),
    model,
    minConfidence: min_confidence,
    split,
    type,
  };
}

/** Hash of a labeler that a query names by id or by hash. */
export function knownLabeler(text: string, labelers: Feedback["labelers"]): string {
  return labelers.isHash(text) ? text : labelers.labeler(labelerName(text, undefined));
}

/** A record; `whole`: with the tokens of its texts. */
export function viewOf(record: FeedbackRecord, { whole }: { whole: boolean }): FeedbackBody {
  const { judgement, details, labeler } = record;
  const { type, ...judged } = judgement;
  return {
    id: record.id,
    object: "feedback",
    type,
    created: record.created,
    [type]: "ranking" in judged ? judged.ranking : judged,
    prompt: record.prompt ?? null,
    prompt_hash: record.promptHash,
    ...(whole && record.promptIds ? { prompt_ids: [...record.promptIds] } : {}),
    candidates: record.candidates.map((candidate) => ({
      text: candidate.text,
      ...given({
        completion_id: candidate.completionId,
        model: candidate.model,
        sampling: candidate.sampling as Record<string, unknown> | undefined,
        weights_hash: candidate.weightsHash,
        finish_reason: candidate.finishReason,
        token_ids: whole && candidate.tokenIds ? [...candidate.tokenIds] : undefined,
        logprobs: whole && candidate.logProbabilities ? [...candidate.logProbabilities] : undefined,
      }),
    })),
    ...given({
      confidence: record.confidence,
      criteria: details.criteria,
      comment: details.comment,
      presented_order: details.presentedOrder && [...details.presentedOrder],
      session_id: details.sessionId,
      tags: details.tags && [...details.tags],
      metadata: details.metadata,
      supersedes: record.supersedes,
      superseded_by: record.supersededBy,
    }),
    labeler: { id: labeler.hash, kind: labeler.kind },
    pairs: record.pairs,
    dataset_version: record.datasetVersion,
    split: record.split,
  };
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function given<T extends object>(fields: T): Given<T> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as Given<T>;
}

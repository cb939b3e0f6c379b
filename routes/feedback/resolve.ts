/**
 * A body of feedback as it is kept: the completions that it names are looked up, its prompt is
 * hashed, and so is the labeler.
 *
 * @module
 */
import { canonicalJson, digestOf, splitOf } from "../../src/feedback/canonical.ts";
import type { CompletionRecord } from "../../src/feedback/completion_store.ts";
import type { Feedback } from "../../src/feedback/feedback.ts";
import type {
  Candidate,
  FeedbackDetails,
  NewFeedback,
} from "../../src/feedback/feedback_record.ts";
import type { ServeDeps } from "../deps.ts";
import { ApiError } from "../errors.ts";
import type { FeedbackRequest } from "../schemas/feedback.ts";
import { fault, judgementOf } from "./judgement.ts";

/** What looking up needs. */
export type ResolveDeps = Pick<ServeDeps, "runtime" | "tokenizers" | "newId" | "nowMs"> & {
  /** The feedback that is there. */
  readonly feedback: Feedback;
};

/** Who sent a body, and under which key. */
export interface Sender {
  /** Id of the API key; undefined where none are asked for. */
  readonly apiKey: string | undefined;
  /** The Idempotency-Key; undefined: what is said is the key. */
  readonly idempotencyKey: string | undefined;
}

/** Prompt and candidates. */
interface Subject {
  /** Says which prompt it is, whether it is kept or not. */
  identity: string;
  prompt: string | undefined;
  promptIds: readonly number[] | undefined;
  candidates: readonly Candidate[];
}

/** Hash of whoever judged. */
export function labelerOf(
  { labelers }: Pick<Feedback, "labelers">,
  body: FeedbackRequest,
  { apiKey }: Sender,
): string {
  return labelers.labeler(labelerName(body.labeler?.id, apiKey));
}

/** What is hashed of a labeler: its id, or else whose key it is. */
export function labelerName(id: string | undefined, apiKey: string | undefined): string {
  return id === undefined ? `key:${apiKey ?? ""}` : `id:${id}`;
}

/**
 * What to keep of a body.
 *
 * @throws {ApiError} 400 when a part does not fit the others, 404 when a completion is unknown, 410
 * when it was kept for long enough.
 */
export async function resolveFeedback(
  deps: ResolveDeps,
  body: FeedbackRequest,
  sender: Sender,
): Promise<NewFeedback> {
  const { labelers } = deps.feedback;
  const subject = body.completion_ids == null
    ? sentSubject(body)
    : await servedSubject(deps, body, body.completion_ids);
  const judgement = judgementOf(body, subject.candidates.map(({ text }) => text));
  const canonical = canonicalJson({ ...body, idempotency_key: undefined });
  const { apiKey = "", idempotencyKey } = sender;
  const key = idempotencyKey === undefined ? ["body", canonical] : ["key", idempotencyKey];
  return {
    id: deps.newId("fb-"),
    keyHash: digestOf(apiKey, ...key),
    bodyHash: digestOf(canonical),
    created: Math.floor(deps.nowMs() / 1000),
    labeler: { hash: labelerOf(deps.feedback, body, sender), kind: body.labeler?.kind ?? "human" },
    promptHash: labelers.prompt(subject.identity),
    split: splitOf(subject.identity),
    prompt: subject.prompt,
    promptIds: subject.promptIds,
    candidates: subject.candidates,
    judgement,
    confidence: body.confidence ?? undefined,
    supersedes: body.supersedes ?? undefined,
    details: detailsOf(body),
  };
}

/** Candidates that came with their texts. */
function sentSubject({ prompt, candidates }: FeedbackRequest): Subject {
  if (candidates == null) throw fault("completion_ids", "them, or 'candidates'", "it is missing");
  if (prompt == null) throw fault("prompt", "the text beside 'candidates'", "it is missing");
  return {
    identity: prompt,
    prompt,
    promptIds: undefined,
    candidates: candidates.map(({ text, model, sampling }) => ({
      text,
      ...(model == null ? {} : { model }),
      ...(sampling == null ? {} : { sampling }),
    })),
  };
}

/** Candidates that were served here. */
async function servedSubject(
  deps: ResolveDeps,
  body: FeedbackRequest,
  ids: readonly string[],
): Promise<Subject> {
  for (const param of ["prompt", "candidates"] as const) {
    if (body[param] != null) throw fault(param, "none beside 'completion_ids'", "it is there");
  }
  if (new Set(ids).size < ids.length) throw fault("completion_ids", "each id once", "one is twice");
  const records = ids.map((id, at) => find(deps.feedback, id, at));
  const identities = await Promise.all(records.map((record) => identityOf(deps, record)));
  const other = identities.findIndex((identity) => identity !== identities[0]);
  if (other > 0) {
    const param = `completion_ids.${other}`;
    throw fault(param, "completions of one prompt", "it is of another than the first");
  }
  const [first] = records;
  return {
    identity: identities[0]!,
    prompt: records.every(({ prompt }) => prompt !== undefined) ? first!.prompt : undefined,
    promptIds: first!.promptIds,
    candidates: records.map((record) => ({
      text: record.text,
      completionId: record.id,
      model: record.model,
      sampling: record.sampling,
      weightsHash: record.weightsHash,
      tokenIds: record.tokenIds,
      logProbabilities: record.logProbabilities,
      finishReason: record.finishReason,
    })),
  };
}

function find({ completions }: Feedback, id: string, at: number): CompletionRecord {
  const record = completions.find(id);
  if (record) return record;
  const param = `completion_ids.${at}`;
  if (completions.isExpired(id)) {
    const message = `Cannot use '${param}': want a completion that is kept: ${id} has expired`;
    throw new ApiError(410, message, { param, code: "completion_expired" });
  }
  const message = `Cannot use '${param}': want a kept completion: there is no ${id}`;
  throw new ApiError(404, message, { param, code: "completion_not_found" });
}

/** The prompt's text, for its hash; its ids where no tokenizer of its model is at hand. */
async function identityOf(deps: ResolveDeps, record: CompletionRecord): Promise<string> {
  if (record.prompt !== undefined) return record.prompt;
  const run = record.model.replace(/@\d+$/, "");
  const model = deps.runtime.models().find((model) => model.run === run);
  if (model === undefined) return `ids:${run}:${record.promptIds.join(",")}`;
  const { tokenizer } = await deps.tokenizers.of(model);
  return tokenizer.decode(record.promptIds);
}

function detailsOf(body: FeedbackRequest): FeedbackDetails {
  const { criteria, comment, presented_order, session_id, tags, metadata } = body;
  const details = { criteria, comment, presentedOrder: presented_order, sessionId: session_id };
  return Object.fromEntries(
    Object.entries({ ...details, tags, metadata }).filter(([, value]) => value != null),
  );
}

/**
 * `/v1/feedback`: what people say of texts, taken in, shown and erased.
 *
 * @module
 */
import { Hono } from "hono";
import * as z from "zod";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import { FeedbackConflict, type FeedbackReceipt } from "../src/feedback/feedback_store.ts";
import { readBody, warningsOf } from "./body.ts";
import type { ServeDeps } from "./deps.ts";
import { ApiError, errorHandler } from "./errors.ts";
import { labelerOf, resolveFeedback, type Sender } from "./feedback/resolve.ts";
import { filterOf, knownLabeler, readQuery, viewOf } from "./feedback/view.ts";
import { apiKeyIdOf } from "./operations/auth.ts";
import {
  feedbackReceipt,
  type FeedbackReceiptBody,
  type FeedbackRequest,
  feedbackRequest,
} from "./schemas/feedback.ts";
import {
  erasedResponse,
  eraseQuery,
  feedbackList,
  feedbackSchema,
  listQuery,
} from "./schemas/feedback_read.ts";
import { jsonBody, responses } from "./schemas/openapi.ts";

const PATH = "/v1/feedback";
const TAGS = ["Feedback"];
const id = z.object({ id: z.string() });

/** For the OpenAPI document. */
export const feedbackPaths: ZodOpenApiPathsObject = {
  [PATH]: {
    post: {
      operationId: "createFeedback",
      summary: "Says which text is better, how good one is, or what it should have been",
      description: "It is on the disk when the answer comes. Needs the scope feedback:write. " +
        "The same Idempotency-Key, or without one the same body, is stored once: 200 `duplicate`.",
      tags: TAGS,
      requestParams: {
        header: z.object({ "Idempotency-Key": z.string().min(1).max(255).optional() }),
      },
      requestBody: jsonBody(feedbackRequest),
      responses: {
        ...responses(feedbackReceipt, { description: "It was there before" }),
        ...responses(feedbackReceipt, {
          description: "It is stored",
          status: 201,
          errors: [400, 401, 403, 404, 409, 410, 413, 415, 429, 500, 503],
        }),
      },
    },
    get: {
      operationId: "listFeedback",
      summary: "Records, without the tokens of their texts",
      description: "Needs the scope feedback:read",
      tags: TAGS,
      requestParams: { query: listQuery },
      responses: responses(feedbackList, { description: "A page", errors: [400, 401, 403, 404] }),
    },
    delete: {
      operationId: "deleteFeedbackOf",
      summary: "Erases all feedback of a labeler, or on a completion, which goes with it",
      description: "Needs the scope admin",
      tags: TAGS,
      requestParams: { query: eraseQuery },
      responses: responses(erasedResponse, { description: "Erased", errors: [400, 401, 403, 404] }),
    },
  },
  [`${PATH}/{id}`]: {
    get: {
      operationId: "retrieveFeedback",
      summary: "A record, with the tokens and log-probabilities of its texts",
      tags: TAGS,
      requestParams: { path: id },
      responses: responses(feedbackSchema, { description: "It", errors: [401, 403, 404] }),
    },
    delete: {
      operationId: "deleteFeedback",
      summary: "Erases a record, and those that it had replaced",
      description: "Needs the scope admin",
      tags: TAGS,
      requestParams: { path: id },
      responses: responses(erasedResponse, { description: "Erased", errors: [401, 403, 404] }),
    },
  },
};

/** What the routes of feedback need. */
export type FeedbackDeps = Pick<
  ServeDeps,
  "runtime" | "tokenizers" | "feedback" | "logger" | "newId" | "nowMs"
>;

/** The feedback of a server that keeps it. @throws {ApiError} 404 where nothing is kept */
export function feedbackOf({ feedback }: FeedbackDeps): NonNullable<ServeDeps["feedback"]> {
  if (feedback) return feedback;
  const message =
    "Cannot take or show feedback: want a server that keeps it: this one has --no-store";
  throw new ApiError(404, message, { code: "feedback_off" });
}

/** The routes. */
export function feedback(deps: FeedbackDeps): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  app.post(PATH, async (c) => {
    feedbackOf(deps);
    const idempotencyKey = checkKey(c.req.header("idempotency-key"));
    const body = await readBody(c, feedbackRequest);
    const warnings = warningsOf(feedbackRequest, body);
    const sender = { apiKey: apiKeyIdOf(c), idempotencyKey };
    const receipt = await takeFeedback(deps, body, sender);
    return c.json(
      { ...receiptOf(receipt), ...(warnings.length > 0 ? { warnings } : {}) },
      receipt.status === "stored" ? 201 : 200,
    );
  });
  app.get(PATH, (c) => {
    const parts = feedbackOf(deps);
    const query = readQuery(c, listQuery);
    const limit = query.limit ?? 20;
    const after = query.after === undefined ? undefined : parts.store.find(query.after)?.seq;
    if (query.after !== undefined && after === undefined) throw notFound(query.after);
    const filter = {
      ...filterOf(query, parts),
      withSuperseded: query.include_superseded ?? false,
    };
    const newestFirst = query.order !== "asc";
    const records = parts.store.list(filter, { after, newestFirst, limit: limit + 1 });
    const data = records.slice(0, limit).map((record) => viewOf(record, { whole: false }));
    return c.json({
      object: "list",
      data,
      first_id: data[0]?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
      has_more: records.length > limit,
    });
  });
  app.get(`${PATH}/:id`, (c) => {
    const record = feedbackOf(deps).store.find(c.req.param("id"));
    if (!record) throw notFound(c.req.param("id"));
    return c.json(viewOf(record, { whole: true }));
  });
  app.delete(`${PATH}/:id`, (c) => {
    const { store } = feedbackOf(deps);
    const erased = store.erase(c.req.param("id"));
    if (erased.length === 0) throw notFound(c.req.param("id"));
    deps.logger.info("feedback erased", { ids: erased });
    return c.json({ ...erasedBody(store, erased.length), id: erased[0] });
  });
  app.delete(PATH, (c) => {
    const { store, labelers, completions } = feedbackOf(deps);
    const { labeler, completion_id: completionId } = readQuery(c, eraseQuery);
    if ((labeler === undefined) === (completionId === undefined)) {
      const message = "Cannot erase feedback: want 'labeler' or 'completion_id': got " +
        (labeler === undefined ? "neither" : "both");
      throw new ApiError(400, message, { code: "invalid_value" });
    }
    const hash = labeler && knownLabeler(labeler, labelers);
    const count = store.eraseAll({ labeler: hash, completionId });
    const completion = completionId !== undefined && completions.erase(completionId);
    if (count === 0 && !completion) throw notFound(labeler ?? completionId!);
    deps.logger.info("feedback erased", { count, completion });
    return c.json(erasedBody(store, count));
  });
  return app;
}

function erasedBody(store: { datasetVersion: number }, count: number) {
  const deleted = true as const;
  return {
    object: "feedback.deleted" as const,
    deleted,
    count,
    dataset_version: store.datasetVersion,
  };
}

/**
 * Keeps a body that fits its schema.
 *
 * @throws {ApiError} 400, 404, 409, 410, 429: nothing is kept then. 503 when the disk is full.
 */
export async function takeFeedback(
  deps: FeedbackDeps,
  body: FeedbackRequest,
  sender: Sender,
): Promise<FeedbackReceipt> {
  const parts = feedbackOf(deps);
  const refusal = parts.limits.take(labelerOf(parts, body, sender));
  if (refusal) {
    const what = refusal.bound === "rate" ? "fewer a second" : "fewer a day";
    throw new ApiError(429, `Cannot take more feedback of this labeler now: want ${what}`, {
      type: "rate_limit_error",
      code: "rate_limit_exceeded",
      retryAfterMs: refusal.retryAfterMs,
    });
  }
  const item = await resolveFeedback({ ...deps, feedback: parts }, body, sender);
  try {
    return await parts.store.save(item);
  } catch (cause) {
    if (cause instanceof FeedbackConflict) throw conflict(cause);
    deps.logger.error("feedback not stored", {}, cause);
    const message = "The server could not store the feedback";
    throw new ApiError(503, message, { code: "store_failed", cause, retryAfterMs: 1000 });
  }
}

function conflict({ kind, message }: FeedbackConflict): ApiError {
  if (kind === "key") return new ApiError(409, message, { code: "idempotency_key_reused" });
  const param = "supersedes";
  if (kind === "unknown") return new ApiError(404, message, { param, code: "feedback_not_found" });
  return new ApiError(409, message, { param, code: "cannot_supersede" });
}

/** The key, where there is one. @throws {ApiError} 400 */
export function checkKey(key: string | undefined): string | undefined {
  if (key === undefined || (key.length > 0 && key.length <= 255)) return key;
  const message = `Cannot use the header Idempotency-Key: want 1 to 255 characters: ${key.length}`;
  throw new ApiError(400, message, { code: "invalid_value" });
}

/** What is sent of a receipt. */
export function receiptOf(receipt: FeedbackReceipt): FeedbackReceiptBody {
  const { id, status, pairs, datasetVersion, split } = receipt;
  return { id, object: "feedback", status, pairs, dataset_version: datasetVersion, split };
}

function notFound(id: string): ApiError {
  const message = `Cannot find the feedback '${id}': there is none`;
  return new ApiError(404, message, { code: "feedback_not_found" });
}

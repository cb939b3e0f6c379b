/**
 * `POST /v1/feedback/batch`: many records in one request, each for itself.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import type { ZodOpenApiPathsObject } from "zod-openapi";
import { readBody, warningsOf } from "./body.ts";
import { errorHandler, invalidBody, logError, toApiError } from "./errors.ts";
import { checkKey, type FeedbackDeps, feedbackOf, receiptOf, takeFeedback } from "./feedback.ts";
import { apiKeyIdOf } from "./operations/auth.ts";
import {
  batchItem,
  batchRequest,
  type BatchResponse,
  batchResponse,
  documentedBatchRequest,
} from "./schemas/feedback_batch.ts";
import { jsonBody, responses } from "./schemas/openapi.ts";

const PATH = "/v1/feedback/batch";

/** For the OpenAPI document. */
export const feedbackBatchPaths: ZodOpenApiPathsObject = {
  [PATH]: {
    post: {
      operationId: "createFeedbackBatch",
      summary: "Many records of feedback; each is stored or refused for itself",
      description: "Items without a key have the request's Idempotency-Key and their number, or " +
        "what they say. Needs the scope feedback:write.",
      tags: ["Feedback"],
      requestBody: jsonBody(documentedBatchRequest),
      responses: responses(batchResponse, {
        description: "What became of each, in their order",
        errors: [400, 401, 403, 413, 415],
      }),
    },
  },
};

type Outcome = BatchResponse["data"][number];

/** The route. */
export function feedbackBatch(deps: FeedbackDeps): Hono {
  const app = new Hono();
  app.onError(errorHandler(deps.logger));
  app.post(PATH, async (c) => {
    feedbackOf(deps);
    const requestKey = checkKey(c.req.header("idempotency-key"));
    const { items } = await readBody(c, batchRequest);
    // All are on their way to the store before the first is there: they share its commit.
    const data = await Promise.all(items.map((item, index) => {
      const key = requestKey === undefined ? undefined : `${requestKey}#${index}`;
      return takeItem(deps, c, { item, index, key });
    }));
    const count = (status: Outcome["status"]) =>
      data.filter((outcome) => outcome.status === status).length;
    const response: BatchResponse = {
      object: "list",
      data,
      stored: count("stored"),
      duplicates: count("duplicate"),
      errors: count("error"),
    };
    return c.json(response);
  });
  return app;
}

async function takeItem(
  deps: FeedbackDeps,
  c: Context,
  { item, index, key }: { item: unknown; index: number; key: string | undefined },
): Promise<Outcome> {
  try {
    const parsed = batchItem.safeParse(item);
    if (!parsed.success) throw invalidBody(parsed.error, item);
    const { idempotency_key: own, ...body } = parsed.data;
    const warnings = warningsOf(batchItem, body);
    const sender = { apiKey: apiKeyIdOf(c), idempotencyKey: own ?? key };
    const receipt = await takeFeedback(deps, body, sender);
    return { ...receiptOf(receipt), index, ...(warnings.length > 0 ? { warnings } : {}) };
  } catch (thrown) {
    const error = toApiError(thrown);
    logError(deps.logger, error);
    return {
      index,
      status: "error",
      http_status: error.status,
      error: error.body.error,
      ...(error.retryAfterMs === undefined
        ? {}
        : { retry_after_ms: Math.ceil(error.retryAfterMs) }),
    };
  }
}

/**
 * What `POST /v1/feedback/batch` takes and gives.
 *
 * @module
 */
import * as z from "zod";
import { feedbackReceipt, feedbackRequest, MOST_ITEMS } from "./feedback.ts";

/** One record of a batch. */
export const batchItem = feedbackRequest.extend({
  idempotency_key: z.string().min(1).max(255).nullish().meta({
    description: "As the header Idempotency-Key of a single record",
  }),
}).meta({ id: "FeedbackBatchItem" });

/** Many records; each is checked for itself. */
export const batchRequest = z.strictObject({
  items: z.array(z.unknown()).min(1).max(MOST_ITEMS),
});

/** As {@linkcode batchRequest}, with what an item is. */
export const documentedBatchRequest = z.strictObject({
  items: z.array(batchItem).min(1).max(MOST_ITEMS),
}).meta({ id: "FeedbackBatchRequest" });

/** What became of each. */
export const batchResponse = z.object({
  object: z.literal("list"),
  data: z.array(z.union([
    feedbackReceipt.extend({ index: z.int() }),
    z.object({
      index: z.int(),
      status: z.literal("error"),
      http_status: z.int().meta({ description: "That a single record would have been answered" }),
      error: z.object({
        message: z.string(),
        type: z.string(),
        param: z.string().nullable(),
        code: z.string().nullable(),
      }),
      retry_after_ms: z.int().optional(),
    }),
  ])),
  stored: z.int(),
  duplicates: z.int(),
  errors: z.int(),
}).meta({ id: "FeedbackBatchResponse" });

/** {@linkcode batchResponse}. */
export type BatchResponse = z.output<typeof batchResponse>;

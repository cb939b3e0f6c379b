/**
 * `POST /v1/chat/completions`: what comes and what goes.
 *
 * @module
 */
import * as z from "zod";
import {
  bestOfShape,
  finishReasonSchema,
  generationShape,
  rewardField,
  rewardModelField,
  usageSchema,
} from "./common.ts";

/** One turn. */
export const chatMessage = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant"]).meta({
    description: "developer is another name of system",
  }),
  content: z.union([
    z.string(),
    z.array(z.looseObject({ type: z.literal("text"), text: z.string() })),
  ]).meta({ description: "Text, or parts that are text" }),
}).meta({ id: "ChatMessage" });

/** The request. */
export const chatRequest = z.looseObject({
  ...generationShape,
  ...bestOfShape,
  messages: z.array(chatMessage).min(1),
  max_completion_tokens: z.int().min(1).nullish().meta({
    description: "At most so many tokens an answer; without it, what the context has room for",
  }),
  max_tokens: z.int().min(1).nullish().meta({
    description: "Older name of max_completion_tokens, which goes first",
  }),
  logprobs: z.boolean().nullish().meta({
    description: "Whether to send each token's log-probability",
    default: false,
  }),
  top_logprobs: z.int().min(0).max(20).nullish().meta({
    description: "And those of so many of the likeliest; needs logprobs",
  }),
}).meta({ id: "ChatRequest" });

/** {@linkcode chatRequest}. */
export type ChatRequest = z.output<typeof chatRequest>;

const scoredToken = {
  token: z.string(),
  logprob: z.number(),
  bytes: z.array(z.int().min(0).max(255)).nullable(),
};

/** Log-probabilities of an answer. */
export const chatLogprobs = z.object({
  content: z.array(z.object({
    ...scoredToken,
    top_logprobs: z.array(z.object(scoredToken)),
  })),
  refusal: z.null(),
}).meta({ id: "ChatLogprobs" });

/** {@linkcode chatLogprobs}. */
export type ChatLogprobs = z.output<typeof chatLogprobs>;

const responseHead = {
  id: z.string(),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
  warnings: z.array(z.string()).optional().meta({ description: "Parameters without effect" }),
};

const completionId = z.string().optional().meta({
  description: "What feedback calls this answer, where it is kept",
});

/** The response. */
export const chatResponse = z.object({
  ...responseHead,
  object: z.literal("chat.completion"),
  choices: z.array(z.object({
    index: z.int(),
    message: z.object({
      role: z.literal("assistant"),
      content: z.string(),
      refusal: z.null(),
    }),
    logprobs: chatLogprobs.nullable(),
    finish_reason: finishReasonSchema,
    reward: rewardField,
    completion_id: completionId,
  })),
  reward_model: rewardModelField,
  usage: usageSchema,
}).meta({ id: "ChatResponse" });

/** {@linkcode chatResponse}. */
export type ChatResponse = z.output<typeof chatResponse>;

/** One event of a stream. */
export const chatChunk = z.object({
  ...responseHead,
  object: z.literal("chat.completion.chunk"),
  choices: z.array(z.object({
    index: z.int(),
    delta: z.object({ role: z.literal("assistant").optional(), content: z.string().optional() }),
    logprobs: chatLogprobs.nullable(),
    finish_reason: finishReasonSchema.nullable(),
    completion_id: completionId,
  })),
  usage: usageSchema.nullish(),
}).meta({ id: "ChatChunk" });

/** {@linkcode chatChunk}. */
export type ChatChunk = z.output<typeof chatChunk>;

/**
 * `POST /v1/completions`: what comes and what goes.
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
  tokenIds,
  usageSchema,
} from "./common.ts";

/** A text, texts, ids, or several lists of ids. */
export const promptSchema = z.union([
  z.string(),
  z.array(z.string()).min(1),
  tokenIds,
  z.array(tokenIds).min(1),
]).nullish().meta({
  description: 'One prompt or several, as text or as ids; "" begins a new text',
  default: "<|endoftext|>",
});

/** The request. */
export const completionRequest = z.looseObject({
  ...generationShape,
  prompt: promptSchema,
  max_tokens: z.int().min(0).nullish().meta({
    description: "At most so many tokens a text; 0 with echo only scores the prompt",
    default: 16,
  }),
  ...bestOfShape,
  echo: z.boolean().nullish().meta({
    description: "Whether the prompt is part of the text",
    default: false,
  }),
  logprobs: z.int().min(0).max(5).nullish().meta({
    description: "With each token its log-probability, and those of so many of the likeliest",
  }),
  return_tokens_as_token_ids: z.boolean().nullish().meta({
    description: 'Whether logprobs name tokens "token_id:…", which tells any two apart',
    default: false,
  }),
}).meta({ id: "CompletionRequest" });

/** {@linkcode completionRequest}. */
export type CompletionRequest = z.output<typeof completionRequest>;

/** Log-probabilities: four arrays of one length. */
export const completionLogprobs = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(z.number().nullable()),
  top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
  text_offset: z.array(z.int()).meta({
    description: "Where each token begins in the text, in code points",
  }),
}).meta({ id: "CompletionLogprobs" });

/** {@linkcode completionLogprobs}. */
export type CompletionLogprobs = z.output<typeof completionLogprobs>;

/** One text. */
export const completionChoice = z.object({
  index: z.int().meta({ description: "Number of the prompt times n, plus that of the text" }),
  text: z.string(),
  logprobs: completionLogprobs.nullable(),
  finish_reason: finishReasonSchema.nullable().meta({ description: "null while it is written" }),
  reward: rewardField,
  completion_id: z.string().optional().meta({
    description: "What feedback calls this text; with its last piece, where it is kept",
  }),
}).meta({ id: "CompletionChoice" });

/** {@linkcode completionChoice}. */
export type CompletionChoice = z.output<typeof completionChoice>;

/** The response; a stream is made of the same objects, each with what is new. */
export const completionResponse = z.object({
  id: z.string(),
  object: z.literal("text_completion"),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
  choices: z.array(completionChoice),
  usage: usageSchema.nullish(),
  reward_model: rewardModelField,
  warnings: z.array(z.string()).optional().meta({ description: "Parameters without effect" }),
}).meta({ id: "CompletionResponse" });

/** {@linkcode completionResponse}. */
export type CompletionResponse = z.output<typeof completionResponse>;

/**
 * What `POST /v1/reward` takes and gives.
 *
 * @module
 */
import * as z from "zod";
import { chatMessage } from "./chat.ts";

/** Responses of a request, at most. */
export const MOST_SCORED = 1024;

/** Responses to one prompt, or completions that were served. */
export const rewardRequest = z.looseObject({
  model: z.string().nullish().meta({
    description: "Id of a reward model; without it the one that the server names, or the first",
  }),
  prompt: z.string().nullish().meta({ description: "What the completions answer: one turn" }),
  messages: z.array(chatMessage).min(1).nullish().meta({
    description: "A chat in place of a prompt; it ends with the user's turn",
  }),
  completions: z.array(z.string()).min(1).max(MOST_SCORED).nullish().meta({
    description: "Responses to score",
  }),
  completion_ids: z.array(z.string().min(1)).min(1).max(MOST_SCORED).nullish().meta({
    description: "In place of all these: completions that the server has kept",
  }),
  user: z.string().nullish().meta({ description: "Accepted, and without effect" }),
  strict: z.boolean().nullish().meta({
    description: "Whether a parameter without effect is an error, not a warning",
    default: false,
  }),
}).meta({ id: "RewardRequest" });

/** {@linkcode rewardRequest}. */
export type RewardRequest = z.output<typeof rewardRequest>;

/** The rewards, in the order of the request. */
export const rewardResponse = z.object({
  id: z.string(),
  object: z.literal("reward.result"),
  created: z.int(),
  model: z.string(),
  version: z.string().meta({ description: "The version that scored: run@step" }),
  system_fingerprint: z.string(),
  results: z.array(z.object({
    index: z.int(),
    completion_id: z.string().optional(),
    reward: z.number().meta({
      description: "Demonstrations have 0 on average; the difference of two rewards is the " +
        "logarithm of the odds that the first is preferred",
    }),
    tokens: z.int().meta({ description: "Of the whole dialogue" }),
  })),
  usage: z.object({ prompt_tokens: z.int(), total_tokens: z.int() }),
  warnings: z.array(z.string()).optional(),
}).meta({ id: "RewardResponse" });

/** {@linkcode rewardResponse}. */
export type RewardResponse = z.output<typeof rewardResponse>;

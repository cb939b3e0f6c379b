/**
 * Parts that several routes' schemas share.
 *
 * @module
 */
import * as z from "zod";
import { MOST_BIASES } from "../../src/infer/sampler.ts";

/** Id of a token. */
export const tokenId: z.ZodInt = z.int().min(0);

/** Ids of a text. */
export const tokenIds: z.ZodArray<z.ZodInt> = z.array(tokenId).min(1);

/** Name of the model; without it, the server's default one. */
export const modelField: z.ZodOptional<z.ZodNullable<z.ZodString>> = z.string().nullish().meta({
  description: "Id of a model, as GET /v1/models lists them; without it the first of them",
});

/** What every route that writes takes. */
export const generationShape = {
  model: modelField,
  n: z.int().min(1).max(128).nullish().meta({
    description: "Texts for each prompt, which is taken in once",
    default: 1,
  }),
  temperature: z.number().min(0).max(2).nullish().meta({
    description: "Divides the logits; 0 is greedy",
    default: 1,
  }),
  top_p: z.number().min(0).max(1).nullish().meta({
    description: "Only the most likely tokens that reach this probability together",
    default: 1,
  }),
  top_k: z.int().min(-1).max(2 ** 31 - 1).nullish().meta({
    description: "Only so many of the most likely tokens; 0 or -1: all",
    default: 0,
  }),
  min_p: z.number().min(0).max(1).nullish().meta({
    description: "Only tokens that have this share of the likeliest one's probability",
    default: 0,
  }),
  presence_penalty: z.number().min(-2).max(2).nullish().meta({
    description: "Taken from the logit of a token that was written already",
    default: 0,
  }),
  frequency_penalty: z.number().min(-2).max(2).nullish().meta({
    description: "Taken from a token's logit for each time that it was written",
    default: 0,
  }),
  repetition_penalty: z.number().gt(0).max(100).nullish().meta({
    description: "Divides positive logits of tokens in prompt and text, multiplies negative ones",
    default: 1,
  }),
  no_repeat_ngram_size: z.int().min(0).max(1024).nullish().meta({
    description: "No so many tokens in a row come twice; 0: off",
    default: 0,
  }),
  logit_bias: z.record(
    z.string().regex(/^(0|[1-9]\d*)$/, "the id of a token"),
    z.number().min(-100).max(100),
  )
    .nullish().meta({
      description: `Added to logits, by token id; at most ${MOST_BIASES} of them`,
    }),
  seed: z.number().min(-(2 ** 63)).max(2 ** 63).refine(Number.isInteger, "a whole number").nullish()
    .meta({
      description:
        "The same seed gives the same text, whatever else runs; without it, a fresh one." +
        " 64-bit integers, of which JSON numbers keep 53 bits",
    }),
  stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(1024)]).nullish().meta({
    description: "Texts that end it, which are not part of it; as many as wanted",
  }),
  ignore_eos: z.boolean().nullish().meta({
    description: "Whether to write on past the end of text",
    default: false,
  }),
  skip_special_tokens: z.boolean().nullish().meta({
    description: "Whether to leave the names of special tokens out of the text",
    default: true,
  }),
  stream: z.boolean().nullish().meta({
    description: "Whether to send the text as it is written, as server-sent events",
    default: false,
  }),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  user: z.string().nullish().meta({ description: "Accepted, and without effect" }),
  store: z.boolean().nullish().meta({
    description: "Whether the completion is kept, so that feedback can refer to it",
    default: true,
  }),
  strict: z.boolean().nullish().meta({
    description: "Whether a parameter without effect is an error, not a warning",
    default: false,
  }),
} as const;

/** What routes take that write more texts than they serve. */
export const bestOfShape = {
  best_of: z.int().min(0).max(20).nullish().meta({
    description: "Write so many for each prompt, keep the best n: see best_of_by",
  }),
  best_of_by: z.enum(["logprob", "reward"]).nullish().meta({
    description: "What is best: the highest mean log-probability, or the highest reward under " +
      "the reward model that is current when the request comes in; reward cannot stream",
    default: "logprob",
  }),
} as const;

/** The reward of a text, and the version that gave it. */
export const rewardField: z.ZodOptional<z.ZodNullable<z.ZodNumber>> = z.number().nullable()
  .optional().meta({
    description: "With best_of_by reward; null where the reward model cannot read the text, " +
      "which then comes last",
  });

/** The version of the reward model that judged. */
export const rewardModelField: z.ZodOptional<z.ZodString> = z.string().optional().meta({
  description: "The version that judged, run@step; with best_of_by reward",
});

/** Tokens of a request. */
export const usageSchema = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  prompt_tokens_details: z.object({ cached_tokens: z.int() }),
}).meta({ id: "Usage" });

/** Why a text ended. */
export const finishReasonSchema = z.enum(["stop", "length", "content_filter"]);

/** {@linkcode usageSchema}. */
export type Usage = z.output<typeof usageSchema>;

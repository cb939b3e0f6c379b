/**
 * `POST /v1/cot`: what comes and what goes.
 *
 * @module
 */
import * as z from "zod";
import { MOST_PATTERN_UNITS } from "../../src/prompt/cot_pattern.ts";
import { ANSWER_MARKER, NEXT_QUESTION, REASONING_TRIGGER } from "../../src/prompt/cot_prompt.ts";
import { finishReasonSchema, generationShape, modelField, usageSchema } from "./common.ts";

/** When no more samples are wanted. */
export const earlyStop = z.looseObject({
  rule: z.enum(["none", "certain", "window", "beta"]).nullish().meta({
    description: "certain: the paths that are left cannot change the answer; window: or so many " +
      "paths in a row agree; beta: or the leading answer is ahead of the second with the " +
      "confidence",
    default: "none",
  }),
  window: z.int().min(2).max(128).nullish().meta({ default: 5 }),
  confidence: z.number().min(0.5).lt(1).nullish().meta({
    description: "Of one question's lead, looked at after each path. Of 10,000 simulated answers " +
      "with 40 samples, 0.95 changes 1 %, 0.99 changes 0.06 %, and the default none",
    default: 0.999,
  }),
});

/** Several paths, and how they vote. */
export const selfConsistency = z.looseObject({
  samples: z.int().min(1).max(128).nullish().meta({
    description: "Paths, all from one prompt that is taken in once",
    default: 1,
  }),
  temperature: z.number().min(0).max(2).nullish().meta({
    description: "Of the reasoning; without it 0 for one sample and 0.7 for several",
  }),
  top_k: z.int().min(-1).max(2 ** 31 - 1).nullish().meta({ default: 40 }),
  aggregate: z.enum(["majority", "logprob", "length_norm", "reward"]).nullish().meta({
    description: "What a vote weighs: 1, the probability of its path, that of a token of it, or " +
      "σ(reward) under the reward model that is current when the request comes in",
    default: "majority",
  }),
  early_stop: earlyStop.nullish(),
});

/** The request. */
export const cotRequest = z.looseObject({
  model: modelField,
  question: z.string().min(1),
  mode: z.enum(["zero_shot", "few_shot"]).nullish().meta({
    description: "Without it, few_shot where there are exemplars",
  }),
  exemplars: z.array(z.looseObject({
    question: z.string().min(1),
    rationale: z.string(),
    answer: z.string().min(1),
  })).max(256).nullish(),
  trigger: z.string().min(1).nullish().meta({
    description: "Begins the reasoning of zero_shot",
    default: REASONING_TRIGGER,
  }),
  answer_trigger: z.string().min(1).nullish().meta({
    description: `Asks for the answer after the reasoning; in few_shot (${ANSWER_MARKER}) it ` +
      "stands before the answers of exemplars and paths",
  }),
  answer_type: z.enum(["number", "choice", "yes_no", "text", "regex"]).nullish().meta({
    description: "choice: the likeliest of the choices after the reasoning",
    default: "number",
  }),
  choices: z.array(z.string().min(1)).min(2).max(256).nullish().meta({
    description: "Of answer_type choice",
    default: ["A", "B", "C", "D", "E"],
  }),
  regex: z.string().min(1).nullish().meta({
    description: "Of answer_type regex, in RE2's syntax; its first group, or all of it, is the " +
      `answer. At most ${MOST_PATTERN_UNITS} characters`,
  }),
  self_consistency: selfConsistency.nullish(),
  max_reasoning_tokens: z.int().min(1).nullish().meta({
    description: "Without it 128, or what the context has room for",
  }),
  max_answer_tokens: z.int().min(1).nullish().meta({
    description: "Of what is written after answer_trigger in zero_shot; without it at most 32",
  }),
  stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(1024)]).nullish().meta({
    description: "Texts that end a path, which are not part of it",
    default: [NEXT_QUESTION],
  }),
  seed: generationShape.seed,
  stream: generationShape.stream,
  return_paths: z.boolean().nullish().meta({ default: true }),
  user: generationShape.user,
  store: generationShape.store,
  strict: generationShape.strict,
}).meta({ id: "CotRequest" });

/** {@linkcode cotRequest}. */
export type CotRequest = z.output<typeof cotRequest>;

/** One reasoning and its answer. */
export const cotPath = z.object({
  index: z.int(),
  completion_id: z.string().optional().meta({
    description: "What feedback calls this reasoning, where it is kept",
  }),
  seed: z.int(),
  reasoning: z.string(),
  answer: z.string().nullable(),
  answer_source: z.enum(["marker", "extraction", "last_match", "none"]),
  logprob: z.number().meta({ description: "Of reasoning and answer under the model" }),
  mean_logprob: z.number().meta({ description: "That by the token" }),
  reward: z.number().nullable().meta({
    description: "With aggregate reward: of the reasoning, as `completion_id` has it; null where " +
      "the reward model cannot read it, whose vote weighs nothing",
  }),
  tokens: z.int().meta({ description: "Of reasoning and answer" }),
  finish_reason: finishReasonSchema.meta({ description: "Why the reasoning ended" }),
}).meta({ id: "CotPath" });

/** {@linkcode cotPath}. */
export type CotPath = z.output<typeof cotPath>;

const voteShape = {
  answer: z.string().nullable().meta({ description: "null where no path has one" }),
  confidence: z.number().meta({ description: "Weight of the answer's votes" }),
  votes: z.array(z.object({
    answer: z.string(),
    count: z.int(),
    weight: z.number().meta({ description: "Share of all votes, from 0 to 1" }),
  })).meta({ description: "The winner first" }),
  samples_used: z.int().meta({ description: "Paths that were waited for; null votes count" }),
};

/** The votes so far: an event of a stream. */
export const cotVotes = z.object(voteShape).meta({ id: "CotVotes" });

/** {@linkcode cotVotes}. */
export type CotVotes = z.output<typeof cotVotes>;

/** The response, and the last event of a stream. */
export const cotResult = z.object({
  id: z.string(),
  object: z.literal("cot.result"),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
  ...voteShape,
  normalized: z.union([z.number(), z.string()]).nullable().meta({
    description: "The answer for programs: a number where it is one",
  }),
  abstained: z.boolean().meta({ description: "Whether no path has an answer" }),
  early_stopped: z.boolean(),
  paths: z.array(cotPath).optional(),
  prompts: z.object({
    reasoning: z.string(),
    extraction: z.string().nullable().meta({ description: "What follows each reasoning" }),
  }),
  usage: usageSchema.extend({
    completion_tokens_details: z.object({ reasoning_tokens: z.int() }),
  }).meta({ id: "CotUsage", description: "All paths, those that an early stop ended too" }),
  reward_model: z.string().optional().meta({
    description: "The version that judged, run@step; with aggregate reward",
  }),
  warnings: z.array(z.string()).optional().meta({ description: "Parameters without effect" }),
}).meta({ id: "CotResult" });

/** {@linkcode cotResult}. */
export type CotResult = z.output<typeof cotResult>;

/**
 * What `POST /v1/classify` takes and gives.
 *
 * @module
 */
import * as z from "zod";
import { modelField } from "./common.ts";

/** Examples of a request, at most. */
export const MOST_EXAMPLES = 1024;

const text = (description: string) => z.string().nullish().meta({ description });

/** The parts of one example; which of them count, the model's task decides. */
export const classifyInput = z.strictObject({
  text: text("classification: the text"),
  premise: text("entailment: what holds"),
  hypothesis: text("entailment: what may follow from it"),
  first: text("similarity: one sentence"),
  second: text("similarity: the other; their order does not matter"),
  context: text("choice: what the choices follow"),
  question: text("choice: another name of `context`"),
  choices: z.array(z.string()).min(1).max(64).nullish().meta({
    description: "choice: as many as the model was fine-tuned with",
  }),
}).meta({
  id: "ClassifyInput",
  description:
    "By the model's task: `text`, `premise` and `hypothesis`, `first` and `second`, or " +
    "`context` and `choices`",
});

/** {@linkcode classifyInput}. */
export type ClassifyInput = z.output<typeof classifyInput>;

/** Examples for a fine-tuned model. */
export const classifyRequest = z.looseObject({
  model: modelField,
  input: z.union([classifyInput, z.array(classifyInput).min(1).max(MOST_EXAMPLES)]).meta({
    description: `One example, or up to ${MOST_EXAMPLES}; a text that is too long loses its end`,
  }),
  user: z.string().nullish().meta({ description: "Accepted, and without effect" }),
  strict: z.boolean().nullish().meta({
    description: "Whether a parameter without effect is an error, not a warning",
    default: false,
  }),
}).meta({ id: "ClassifyRequest" });

/** {@linkcode classifyRequest}. */
export type ClassifyRequest = z.output<typeof classifyRequest>;

/** What the model says of one example. */
export const classifyResult = z.object({
  index: z.int().meta({ description: "Of the example in the request" }),
  label: z.string().meta({ description: "The likeliest class or choice" }),
  scores: z.array(z.object({ label: z.string(), prob: z.number() })).meta({
    description: "All classes or choices in their order; the probabilities add up to 1",
  }),
  score: z.number().optional().meta({
    description: "similarity: the expected score, which may lie between two labels",
  }),
  truncated: z.boolean().meta({ description: "Whether the end of a text was left out" }),
}).meta({ id: "ClassifyResult" });

/** {@linkcode classifyResult}. */
export type ClassifyResult = z.output<typeof classifyResult>;

/** What the model says of all examples. */
export const classifyResponse = z.object({
  id: z.string(),
  object: z.literal("classify.result"),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
  task: z.enum(["classification", "entailment", "similarity", "choice"]),
  results: z.array(classifyResult),
  usage: z.object({
    prompt_tokens: z.int().meta({
      description: "Tokens of all texts; a pair is read in both orders, a context once a choice",
    }),
    total_tokens: z.int(),
  }),
  warnings: z.array(z.string()).optional(),
}).meta({ id: "ClassifyResponse" });

/** {@linkcode classifyResponse}. */
export type ClassifyResponse = z.output<typeof classifyResponse>;

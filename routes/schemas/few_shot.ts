/**
 * `POST /v1/few-shot`: what comes and what goes.
 *
 * @module
 */
import * as z from "zod";
import { finishReasonSchema, generationShape, usageSchema } from "./common.ts";
import { completionLogprobs } from "./completions.ts";

/** Inputs, labels and examples of a request, at most. */
const MOST = { inputs: 256, labels: 256, verbalizers: 64, examples: 4096, contentFree: 16 };

/** A label: its name, which is what it is written as too, or its wordings. */
export const fewShotLabel = z.union([
  z.string().min(1),
  z.looseObject({
    name: z.string().min(1),
    verbalizers: z.array(z.string().min(1)).min(1).max(MOST.verbalizers).meta({
      description: "Wordings; the label's probability is the sum of theirs",
    }),
  }),
]);

/** The texts around inputs and outputs. */
export const fewShotTemplate = z.strictObject({
  input_prefix: z.string().nullish().meta({ description: "Before an input", default: "" }),
  input_suffix: z.string().nullish().meta({
    description: "Between an input and output_prefix",
    default: "\n",
  }),
  output_prefix: z.string().nullish().meta({ description: "Before an output", default: "" }),
  separator: z.string().nullish().meta({
    description: "After the instruction and after each example",
    default: "\n\n",
  }),
  delimiter: z.string().nullish().meta({
    description: "Before an output or label that does not begin with white space, where none is " +
      'before it; " " by default, with a format ""',
  }),
  format: z.string().nullish().meta({
    description: "A whole example with {input} and {output} in it, in place of the prefixes and " +
      "the suffix",
  }),
}).meta({ id: "FewShotTemplate" });

/** {@linkcode fewShotTemplate}. */
export type FewShotTemplateBody = z.output<typeof fewShotTemplate>;

/** How labels are compared. */
export const fewShotScoring = z.strictObject({
  normalization: z.enum(["none", "char", "byte", "token", "unconditional", "calibrated"]).nullish()
    .meta({
      description: "Which score decides. char, byte and token divide the log-probability, " +
        "unconditional takes off that of the label after answer_context, calibrated divides by " +
        "the probability that it has where the input says nothing",
      default: "none",
    }),
  answer_context: z.string().nullish().meta({
    description: "Before the label alone, for unconditional",
    default: "",
  }),
  content_free: z.array(z.string()).max(MOST.contentFree).nullish().meta({
    description: "Inputs that say nothing, for calibrated; [] for none",
    default: ["N/A", "", "[MASK]"],
  }),
  return_all: z.boolean().nullish().meta({
    description: "Whether to find unconditional and calibrated scores also where others decide",
    default: true,
  }),
}).meta({ id: "FewShotScoring" });

/** {@linkcode fewShotScoring}. */
export type FewShotScoringBody = z.output<typeof fewShotScoring>;

/** Which examples are shown. */
export const fewShotSelection = z.strictObject({
  k: z.int().min(0).nullish().meta({ description: "How many; without it, all" }),
  strategy: z.enum(["given", "random", "similar"]).nullish().meta({
    description: "The first ones, drawn ones, or those whose inputs share most with the input",
    default: "given",
  }),
  balance_labels: z.boolean().nullish().meta({
    description: "Whether outputs take turns",
    default: false,
  }),
  order: z.enum(["given", "shuffle", "similar_last"]).nullish().meta({ default: "given" }),
  seed: z.int().min(0).nullish().meta({ description: "Of what is drawn", default: 0 }),
}).meta({ id: "FewShotSelection" });

/** {@linkcode fewShotSelection}. */
export type FewShotSelectionBody = z.output<typeof fewShotSelection>;

/** The request. */
export const fewShotRequest = z.looseObject({
  ...generationShape,
  task: z.enum(["classify", "generate"]).nullish().meta({
    description: "Score labels or write a text; without it, classify where there are labels",
  }),
  instruction: z.string().nullish().meta({ description: "First of all" }),
  examples: z.array(z.looseObject({ input: z.string(), output: z.string() })).max(MOST.examples)
    .nullish().meta({
      description: "Solved examples; an output that is a label's name is written as its first " +
        "verbalizer",
    }),
  input: z.union([z.string(), z.array(z.string()).min(1).max(MOST.inputs)]).meta({
    description: "To be solved; several are solved independently",
  }),
  labels: z.array(fewShotLabel).min(1).max(MOST.labels).nullish().meta({
    description: "For classify: of any length",
  }),
  template: fewShotTemplate.nullish(),
  scoring: fewShotScoring.nullish(),
  selection: fewShotSelection.nullish(),
  overflow: z.enum(["error", "drop_oldest"]).nullish().meta({
    description: "What to do where a prompt does not fit: refuse, or leave out its first examples",
    default: "error",
  }),
  max_tokens: z.int().min(1).nullish().meta({
    description: "For generate: at most so many tokens a text",
    default: 64,
  }),
  temperature: z.number().min(0).max(2).nullish().meta({
    description: "For generate: divides the logits; 0 is greedy",
    default: 0,
  }),
  stop: generationShape.stop.meta({
    description: "For generate: texts that end it; without it, the template's separator does",
  }),
  logprobs: z.int().min(0).max(5).nullish().meta({
    description: "For generate: with each token its log-probability, and those of so many others",
  }),
  return_prompt: z.boolean().nullish().meta({
    description: "Whether results have the text of their prompt",
    default: false,
  }),
}).meta({ id: "FewShotRequest" });

/** {@linkcode fewShotRequest}. */
export type FewShotRequest = z.output<typeof fewShotRequest>;

/** The prompt of a result. */
export const fewShotPrompt = z.object({
  text: z.string().optional(),
  sha256: z.string().meta({ description: "Of the text in UTF-8" }),
  tokens: z.int(),
  shots_used: z.int(),
  shots_dropped: z.int().meta({ description: "Chosen, but left out as they did not fit" }),
  cached_tokens: z.int().meta({
    description: "How many of the tokens had been taken in before, the least of all labels",
  }),
}).meta({ id: "FewShotPrompt" });

/** {@linkcode fewShotPrompt}. */
export type FewShotPromptBody = z.output<typeof fewShotPrompt>;

const completionId = z.string().optional().meta({
  description: "What feedback calls this result, where it is kept",
});

/** What is known of a label; logarithms are natural ones. */
export const fewShotScore = z.object({
  label: z.string(),
  logprob: z.number().meta({ description: "Of all its tokens; of any of its verbalizers" }),
  tokens: z.int().meta({ description: "Of the likeliest verbalizer" }),
  bytes: z.int().meta({ description: "Of the likeliest verbalizer, without the delimiter" }),
  per_token: z.number(),
  per_byte: z.number(),
  per_char: z.number().meta({ description: "By code points, without the delimiter" }),
  unconditional: z.number().nullable().meta({ description: "After answer_context alone" }),
  pmi: z.number().nullable().meta({ description: "logprob less unconditional" }),
  prob: z.number().meta({ description: "Softmax over the labels of the score that decides" }),
  calibrated_prob: z.number().nullable(),
  is_greedy: z.boolean().meta({ description: "Whether greedy decoding writes it" }),
}).meta({ id: "FewShotScore" });

/** The label of an input. */
export const fewShotClass = z.object({
  index: z.int(),
  label: z.string(),
  prob: z.number(),
  margin: z.number().nullable().meta({ description: "The best score less the next one" }),
  entropy: z.number().meta({ description: "Of the labels' prob, in nats" }),
  scores: z.array(fewShotScore),
  calibration: z.object({ p_cf: z.array(z.number()) }).nullable(),
  prompt: fewShotPrompt,
  completion_id: completionId,
}).meta({ id: "FewShotClass" });

/** {@linkcode fewShotClass}. */
export type FewShotClass = z.output<typeof fewShotClass>;

/** A text from an input; in a stream, what is new of it. */
export const fewShotText = z.object({
  index: z.int().meta({ description: "Of the input" }),
  choice: z.int().meta({ description: "Among the n texts of the input" }),
  text: z.string(),
  logprobs: completionLogprobs.nullable(),
  finish_reason: finishReasonSchema.nullable().meta({ description: "null while it is written" }),
  prompt: fewShotPrompt.optional().meta({ description: "In a stream the last event has it" }),
  completion_id: completionId,
}).meta({ id: "FewShotText" });

/** {@linkcode fewShotText}. */
export type FewShotText = z.output<typeof fewShotText>;

const responseHead = {
  id: z.string(),
  created: z.int(),
  model: z.string(),
  system_fingerprint: z.string(),
  usage: usageSchema.nullish().meta({
    description: "For classify, prompt_tokens are those of every prompt with every label, and " +
      "cached_tokens those of them that were not computed again",
  }),
  warnings: z.array(z.string()).optional().meta({ description: "Parameters without effect" }),
};

/** The response. */
export const fewShotResponse = z.object({
  ...responseHead,
  object: z.literal("few_shot.result"),
  results: z.array(z.union([fewShotClass, fewShotText])),
}).meta({ id: "FewShotResponse" });

/** {@linkcode fewShotResponse}. */
export type FewShotResponse = z.output<typeof fewShotResponse>;

/** One event of a stream. */
export const fewShotChunk = z.object({
  ...responseHead,
  object: z.literal("few_shot.chunk"),
  results: z.array(fewShotText),
  prompts: z.array(fewShotPrompt.extend({ index: z.int() })).optional().meta({
    description: "With the last event that is not about usage",
  }),
}).meta({ id: "FewShotChunk" });

/** {@linkcode fewShotChunk}. */
export type FewShotChunk = z.output<typeof fewShotChunk>;

/**
 * What a task file may say: which data, how its rows become prompts, and what is measured.
 *
 * The sections `template`, `scoring`, `generation` and `cot` are those of `POST /v1/few-shot` and
 * `POST /v1/cot`, as the evaluator asks these routes. Values in double braces are Jinja over the
 * fields of a row.
 *
 * @module
 */
import * as z from "zod";
import { cotRequest } from "../../routes/schemas/cot.ts";
import {
  fewShotLabel,
  fewShotRequest,
  fewShotScoring,
  fewShotTemplate,
} from "../../routes/schemas/few_shot.ts";

/** What is asked of a model. */
export const TASK_KINDS = [
  "choice",
  "cloze",
  "perplexity",
  "generate",
  "summary",
  "translation",
  "cot",
] as const;

/** One of {@linkcode TASK_KINDS}. */
export type TaskKind = typeof TASK_KINDS[number];

/** Which solved examples stand before an item; the zero of few-shot is `k: 0`. */
const shots = z.strictObject({
  k: z.int().min(0).max(4096),
  /** Rows to take them from, by the same fields; without it the task's own data, less the item. */
  data: z.string().min(1).optional(),
  /** The examples themselves, in place of data. */
  examples: z.array(z.strictObject({
    input: z.string(),
    output: z.string(),
    rationale: z.string().default(""),
  })).min(1).optional(),
  strategy: z.enum(["given", "random", "similar"]).default("given"),
  order: z.enum(["given", "shuffle", "similar_last"]).default("given"),
  balanceLabels: z.boolean().default(false),
  /** Of what is drawn. */
  seed: z.int().min(0).default(0),
  /** Whether every item draws its own examples, as GPT-3's evaluation does. */
  perItem: z.boolean().default(false),
}).prefault({ k: 0 });

const common = {
  /** Of the task in reports. */
  name: z.string().regex(/^[\w.-]+$/, "a name of letters, digits, - _ and ."),
  description: z.string().optional(),
  /** TSV, CSV, JSONL or XML, gzipped or not; from the task file's folder. */
  data: z.string().min(1),
  /** Names of the columns where the file has none. */
  header: z.array(z.string().min(1)).min(1).optional(),
  /** What the data is held to be: tuning sees no test data. */
  split: z.enum(["train", "validation", "test"]).optional(),
};

const prompted = {
  ...common,
  input: z.string().default("{{input}}"),
  instruction: z.string().optional(),
  template: fewShotTemplate.optional(),
  /** What to do where a prompt does not fit. */
  overflow: z.enum(["error", "drop_oldest"]).default("error"),
  shots,
};

/** How a text is written; temperature 0 where nothing is said. */
const generation = fewShotRequest.pick({
  max_tokens: true,
  temperature: true,
  top_p: true,
  top_k: true,
  min_p: true,
  repetition_penalty: true,
  no_repeat_ngram_size: true,
  stop: true,
}).strict();

/** When a written text is the wanted one. */
const match = z.strictObject({
  /** number: the first number of the text has the wanted value. */
  as: z.enum(["text", "number"]).default("text"),
  /** What of the text is the answer, in RE2's syntax: the first group of the first match. */
  pattern: z.string().min(1).optional(),
  ignoreCase: z.boolean().default(false),
  /** Also the articles a, an and the, as SQuAD's evaluation does. */
  ignorePunctuation: z.boolean().default(false),
});

const written = {
  ...prompted,
  /** One reference, or a template that gives a list of them. */
  output: z.string().default("{{output}}"),
  generation: generation.prefault({}),
  /** Of what is drawn: item i has seed + i. */
  seed: z.int().min(0).default(0),
};

/** The files of each kind. */
export const TASK_SCHEMAS = {
  choice: z.strictObject({
    ...prompted,
    kind: z.literal("choice"),
    /** The labels, or a template that gives a list of texts. */
    choices: z.union([z.string().min(1), z.array(fewShotLabel).min(1)]),
    /** The right one by its text or name. */
    output: z.string().optional(),
    /** The right one by its number, from 0. */
    index: z.string().optional(),
    scoring: fewShotScoring.pick({ answer_context: true, content_free: true }).prefault({}),
  }).refine((task) => (task.output === undefined) !== (task.index === undefined), {
    message: 'one of "output" and "index"',
  }),
  cloze: z.strictObject({
    ...prompted,
    kind: z.literal("cloze"),
    /** Whose last word is wanted; in place of input and output. */
    text: z.string().optional(),
    output: z.string().default("{{output}}"),
    /** Whether to predict also with words that end no passage left out, as GPT-2's paper does. */
    stopWords: z.boolean().default(false),
  }),
  perplexity: z.strictObject({
    ...common,
    kind: z.literal("perplexity"),
    text: z.string().default("{{text}}"),
    /**
     * Tokens that a window goes on by; without it a whole context, so that windows do not overlap.
     */
    stride: z.int().min(1).optional(),
  }),
  generate: z.strictObject({
    ...written,
    kind: z.literal("generate"),
    match: match.prefault({}),
  }),
  summary: z.strictObject({
    ...written,
    kind: z.literal("summary"),
    /** How many of the first sentences count; 0: all. */
    sentences: z.int().min(0).default(3),
  }),
  translation: z.strictObject({
    ...written,
    kind: z.literal("translation"),
    /** How many of the first sentences count; 0: all. */
    sentences: z.int().min(0).default(1),
  }),
  cot: z.strictObject({
    ...common,
    kind: z.literal("cot"),
    /** The question. */
    input: z.string().default("{{input}}"),
    /** Its answer. */
    output: z.string().default("{{output}}"),
    /** The steps to it, where rows are examples. */
    rationale: z.string().default(""),
    shots,
    cot: cotRequest.pick({
      trigger: true,
      answer_trigger: true,
      answer_type: true,
      choices: true,
      regex: true,
      self_consistency: true,
      max_reasoning_tokens: true,
      max_answer_tokens: true,
      stop: true,
    }).strict().prefault({}),
    /** Of what is drawn: item i has seed + i. */
    seed: z.int().min(0).default(0),
  }),
} as const;

/** A task file of one kind, with its defaults. */
export type TaskOf<K extends TaskKind> = z.output<typeof TASK_SCHEMAS[K]>;

/** A task file, with its defaults. */
export type TaskSpec = { [K in TaskKind]: TaskOf<K> }[TaskKind];

/** Which examples an item has before it. */
export type ShotOptions = TaskOf<"cot">["shots"];

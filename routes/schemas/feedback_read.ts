/**
 * What the routes that read feedback take and give.
 *
 * @module
 */
import * as z from "zod";
import { FEEDBACK_TYPES, SPLITS } from "../../src/feedback/feedback_record.ts";

const whole = (least: number, most: number) =>
  z.string().regex(/^\d{1,15}$/, "a whole number").transform(Number).pipe(
    z.int().min(least).max(most),
  );

const flag = z.enum(["true", "false"]).transform((text) => text === "true");

/** Which records: parameters of a query. */
export const filterQuery = z.object({
  since: z.string().max(64).transform((text, context) => {
    const seconds = /^\d{1,12}$/.test(text) ? Number(text) : Math.floor(Date.parse(text) / 1000);
    if (Number.isFinite(seconds)) return seconds;
    context.addIssue({ code: "custom", message: "seconds since 1970, or an ISO 8601 time" });
    return z.NEVER;
  }).optional().meta({
    description: "Made then or later: seconds since 1970, or an ISO 8601 time",
  }),
  labeler: z.string().min(1).max(256).optional().meta({
    description: "An id as it was sent, or a hash as records have it",
  }),
  model: z.string().min(1).max(256).optional().meta({ description: "Wrote one of the candidates" }),
  min_confidence: whole(1, 9).optional().meta({
    description: "At least this sure; records that do not say are left out",
  }),
  split: z.enum(SPLITS).optional(),
  type: z.enum(FEEDBACK_TYPES).optional(),
});

/** {@linkcode filterQuery}. */
export type FilterQuery = z.output<typeof filterQuery>;

/** A page of records. */
export const listQuery = filterQuery.extend({
  limit: whole(1, 100).optional().meta({ description: "Records of a page", default: 20 }),
  after: z.string().max(64).optional().meta({
    description: "Id of the last record of the page before",
  }),
  order: z.enum(["asc", "desc"]).optional().meta({ default: "desc" }),
  include_superseded: flag.optional().meta({
    description: "Whether records that were replaced come too",
    default: false,
  }),
});

/** Names of the formats that data are exported in. */
export const EXPORT_FORMATS = [
  "trl_preference",
  "trl_implicit",
  "trl_unpaired",
  "trl_stepwise",
  "hh_rlhf",
  "openai_dpo",
  "openai_summarize",
  "lmsys",
  "labelstudio",
  "ranking",
] as const;

/** What to export. */
export const exportQuery = filterQuery.extend({ format: z.enum(EXPORT_FORMATS) });

/** What to erase beside a single record. */
export const eraseQuery = z.object({
  labeler: z.string().min(1).max(256).optional().meta({ description: "All of a labeler" }),
  completion_id: z.string().min(1).max(256).optional().meta({
    description: "All that is about a completion, and the completion",
  }),
});

const texts = z.string();

/** A record as it is kept. */
export const feedbackSchema = z.object({
  id: z.string(),
  object: z.literal("feedback"),
  type: z.enum(FEEDBACK_TYPES),
  created: z.int(),
  comparison: z.object({
    chosen: z.int(),
    rejected: z.int(),
    outcome: z.enum(["chosen", "tie", "both_bad"]),
    strength: z.int().optional(),
  }).optional(),
  ranking: z.array(z.array(z.int())).optional(),
  rating: z.object({
    value: z.union([z.boolean(), z.number()]),
    scale: z.array(z.number()).optional(),
  }).optional(),
  correction: z.object({ text: texts }).optional(),
  steps: z.object({ steps: z.array(texts), labels: z.array(z.boolean()) }).optional(),
  prompt: texts.nullable().meta({ description: "Null where the server does not keep prompts" }),
  prompt_hash: z.string(),
  prompt_ids: z.array(z.int()).optional().meta({
    description: "Of served completions; one record",
  }),
  candidates: z.array(z.object({
    text: texts,
    completion_id: z.string().optional(),
    model: z.string().optional(),
    sampling: z.record(z.string(), z.unknown()).optional(),
    weights_hash: z.string().optional(),
    finish_reason: z.string().optional(),
    token_ids: z.array(z.int()).optional(),
    logprobs: z.array(z.number()).optional().meta({ description: "When it was written" }),
  })),
  confidence: z.int().optional(),
  criteria: z.record(z.string(), z.number()).optional(),
  comment: texts.optional(),
  labeler: z.object({ id: z.string(), kind: z.enum(["human", "model"]) }).meta({
    description: "The id is a salted hash",
  }),
  presented_order: z.array(z.int()).optional(),
  session_id: z.string().optional(),
  tags: z.array(z.string()).optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
  pairs: z.int(),
  dataset_version: z.int(),
  split: z.enum(SPLITS),
  supersedes: z.string().optional(),
  superseded_by: z.string().optional(),
}).meta({ id: "Feedback" });

/** {@linkcode feedbackSchema}. */
export type FeedbackBody = z.output<typeof feedbackSchema>;

/** A page of records. */
export const feedbackList = z.object({
  object: z.literal("list"),
  data: z.array(feedbackSchema),
  first_id: z.string().nullable(),
  last_id: z.string().nullable(),
  has_more: z.boolean(),
}).meta({ id: "FeedbackList" });

/** What was erased. */
export const erasedResponse = z.object({
  object: z.literal("feedback.deleted"),
  deleted: z.literal(true),
  id: z.string().optional(),
  count: z.int().meta({ description: "Records; those that a record had replaced go with it" }),
  dataset_version: z.int(),
}).meta({ id: "FeedbackErased" });

/** A share of cases, with the 95 % interval of Wilson. */
const share = z.object({
  share: z.number().nullable().meta({ description: "Null of no cases" }),
  n: z.int(),
  low: z.number().nullable(),
  high: z.number().nullable(),
});

/** Figures of all records. */
export const statsResponse = z.object({
  object: z.literal("feedback.stats"),
  dataset_version: z.int(),
  records: z.int(),
  by_type: z.record(z.string(), z.int()),
  by_split: z.record(z.string(), z.int()),
  by_model: z.record(z.string(), z.int()).meta({ description: "Candidates that a model wrote" }),
  prompts: z.int(),
  labelers: z.int(),
  pairs: z.int().meta({ description: "Of a better and a worse candidate" }),
  ties: z.int().meta({ description: "Pairs of which neither is better" }),
  both_bad: z.int(),
  agreement: share.extend({
    alpha: z.number().nullable().meta({
      description: "Krippendorff's alpha of better, worse and tie; null where nobody overlaps",
    }),
  }).meta({ description: "Of two judgements of one pair by two labelers" }),
  position_bias: share.meta({
    description: "The better one was shown before the other; 0.5 is no bias",
  }),
  length_bias: share.extend({ mean_difference: z.number().nullable() }).meta({
    description: "The better one is longer; how much, in characters",
  }),
  per_labeler: z.array(z.object({
    labeler: z.string(),
    kind: z.string(),
    records: z.int(),
    pairs: z.int(),
    ties: z.int(),
    agreement: share.meta({ description: "With other labelers, on the same pairs" }),
    shown_first: share,
  })).meta({ description: "The 100 with the most records" }),
}).meta({ id: "FeedbackStats" });

/** {@linkcode statsResponse}. */
export type StatsBody = z.output<typeof statsResponse>;

/** Who can be trusted. */
export const labelersResponse = z.object({
  object: z.literal("list"),
  dataset_version: z.int(),
  guarded: z.boolean().meta({
    description: "False: too few labelers or pairs to compare anybody with",
  }),
  pairs: z.int().meta({ description: "That count in training" }),
  left_out: z.int().meta({ description: "Pairs that count for nothing" }),
  data: z.array(z.object({
    labeler: z.string(),
    pairs: z.int(),
    agreement: z.number().nullable().meta({
      description: "With a model that learnt from the others alone",
    }),
    flip_rate: z.number().nullable().meta({
      description: "Share of verdicts that are turned around, beyond what all labelers err",
    }),
    weight: z.number().meta({ description: "How much a pair counts, on average" }),
    quarantined: z.boolean(),
    quarantined_topics: z.int().meta({ description: "Topics on which no pair counts" }),
  })),
}).meta({ id: "FeedbackLabelers" });

/**
 * What `POST /v1/feedback` takes.
 *
 * @module
 */
import * as z from "zod";
import { FEEDBACK_TYPES } from "../../src/feedback/feedback_record.ts";

/** Candidates of one record, at most. */
export const MOST_CANDIDATES = 9;

/** Records of a batch, at most. */
export const MOST_ITEMS = 1000;

/** Characters of a text, at most. */
const MOST_TEXT = 200_000;
/** Characters of metadata as JSON, at most. */
const MOST_METADATA = 16_384;

const index = z.int().min(0).max(MOST_CANDIDATES - 1);
const name = z.string().min(1).max(256);
const text = z.string().max(MOST_TEXT);

/** A text that was not served here. */
export const candidateSchema = z.strictObject({
  text,
  model: name.nullish().meta({ description: "What wrote it" }),
  sampling: z.record(z.string(), z.unknown()).nullish().meta({ description: "How" }),
}).meta({ id: "FeedbackCandidate" });

/** One of two is better. */
export const comparisonSchema = z.strictObject({
  chosen: index.nullish().meta({ description: "Candidate that is better" }),
  rejected: index.nullish().meta({ description: "The other" }),
  outcome: z.enum(["chosen", "tie", "both_bad"]).nullish().meta({
    description: "Of a tie, `chosen` and `rejected` are the two in any order; by default 0 and 1",
    default: "chosen",
  }),
  strength: z.int().min(1).max(4).nullish().meta({ description: "1: slightly, 4: by far" }),
}).meta({ id: "Comparison" });

/** How good one candidate is. */
export const ratingSchema = z.strictObject({
  value: z.union([z.boolean(), z.number()]),
  scale: z.tuple([z.number(), z.number()]).nullish().meta({
    description: "Lowest and highest; needed where `value` is a number",
  }),
}).meta({ id: "Rating" });

/** Which steps are right. */
export const stepsSchema = z.strictObject({
  labels: z.array(z.boolean()).min(1).max(1000).meta({
    description: "One a step: the parts of the candidate's text between separators, blank ones out",
  }),
  separator: z.string().min(1).max(16).nullish().meta({ default: "\n" }),
}).meta({ id: "Steps" });

/** Feedback on texts: served ones by their ids, others with their prompt. */
export const feedbackRequest = z.looseObject({
  type: z.enum(FEEDBACK_TYPES),
  completion_ids: z.array(name).min(1).max(MOST_CANDIDATES).nullish().meta({
    description: "`completion_id` of choices of one prompt; or else `prompt` and `candidates`",
  }),
  prompt: text.nullish(),
  candidates: z.array(candidateSchema).min(1).max(MOST_CANDIDATES).nullish(),
  comparison: comparisonSchema.nullish(),
  ranking: z.array(z.array(index).min(1)).min(1).nullish().meta({
    description: "Best first, every candidate once; an inner list is a tie. 2 to 9 candidates",
  }),
  rating: ratingSchema.nullish().meta({ description: "Of one candidate" }),
  correction: z.strictObject({ text: text.min(1) }).nullish().meta({
    description: "What the one candidate should have been",
  }),
  steps: stepsSchema.nullish().meta({ description: "Of one candidate" }),
  confidence: z.int().min(1).max(9).nullish().meta({ description: "How sure, 9 is most" }),
  criteria: z.record(z.string().min(1).max(64), z.number()).nullish().meta({
    description: 'How good by what: {"helpful": 5}',
  }),
  comment: z.string().max(10_000).nullish(),
  labeler: z.strictObject({
    id: name.meta({ description: "Kept as a salted hash only" }),
    kind: z.enum(["human", "model"]).nullish().meta({ default: "human" }),
  }).nullish().meta({ description: "Who judged; by default whose key it is" }),
  presented_order: z.array(index).min(1).max(MOST_CANDIDATES).nullish().meta({
    description: "Candidate that was shown first, second, …",
  }),
  session_id: name.nullish(),
  tags: z.array(z.string().min(1).max(64)).max(32).nullish(),
  metadata: z.record(z.string(), z.unknown()).refine(
    (value) => JSON.stringify(value).length <= MOST_METADATA,
    `at most ${MOST_METADATA} characters of JSON`,
  ).nullish(),
  supersedes: name.nullish().meta({
    description: "Id of feedback of the same labeler on the same prompt that this one replaces",
  }),
  strict: z.boolean().nullish().meta({
    description: "Whether a parameter without effect is an error, not a warning",
    default: false,
  }),
}).meta({
  id: "FeedbackRequest",
  description: "The part that `type` names says what is judged, the others must not be there",
});

/** {@linkcode feedbackRequest}. */
export type FeedbackRequest = z.output<typeof feedbackRequest>;

/** What became of feedback. */
export const feedbackReceipt = z.object({
  id: z.string(),
  object: z.literal("feedback"),
  status: z.enum(["stored", "duplicate"]),
  pairs: z.int().meta({ description: "Of a better and a worse candidate" }),
  dataset_version: z.int().meta({ description: "Changes to the data so far, with this one" }),
  split: z.enum(["train", "valid"]).meta({ description: "By the prompt alone" }),
  warnings: z.array(z.string()).optional(),
}).meta({ id: "FeedbackReceipt" });

/** {@linkcode feedbackReceipt}. */
export type FeedbackReceiptBody = z.output<typeof feedbackReceipt>;

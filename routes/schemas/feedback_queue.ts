/**
 * What `GET /v1/feedback/next` takes and gives.
 *
 * @module
 */
import * as z from "zod";

const whole = (least: number, most: number) =>
  z.string().regex(/^\d{1,4}$/, "a whole number").transform(Number).pipe(
    z.int().min(least).max(most),
  );

/** Whom to ask, for how much. */
export const nextQuery = z.object({
  labeler: z.string().min(1).max(256).optional().meta({
    description: "Who is going to label, as `labeler.id` will say; by default whose key it is",
  }),
  candidates: whole(2, 9).optional().meta({ description: "Answers side by side", default: 2 }),
  limit: whole(1, 20).optional().meta({ description: "Most tasks", default: 1 }),
});

/** What to label. */
export const nextResponse = z.object({
  object: z.literal("feedback.queue"),
  data: z.array(z.object({
    object: z.literal("feedback.task"),
    prompt: z.string(),
    candidates: z.array(z.object({ completion_id: z.string(), text: z.string() })).meta({
      description: "Answers; which model wrote them is not told, so that it cannot matter",
    }),
    presented_order: z.array(z.int()).meta({
      description: "Candidate to show first, second, …; to be sent back with the feedback",
    }),
    uncertainty: z.number().nullable().meta({
      description: "Of the reward model: mean entropy of the pairs, in bits",
    }),
    judgements: z.int().meta({ description: "Labelers who judged answers to this prompt" }),
  })).meta({ description: "Empty where nothing is to be labelled" }),
  chosen_by: z.enum(["reward_model", "fewest_judgements"]),
  reward_model: z.string().nullable().meta({ description: "The version that chose" }),
  waiting: z.int().meta({ description: "Prompts that wait for this labeler, these included" }),
}).meta({ id: "FeedbackQueue" });

/** {@linkcode nextResponse}. */
export type NextBody = z.output<typeof nextResponse>;

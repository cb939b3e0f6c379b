/**
 * What `/v1/training` and `/v1/audit` take and give.
 *
 * @module
 */
import * as z from "zod";
import { TRAINING_STAGES } from "../../src/runtime/feedback_loop.ts";

/** What to train. */
export const trainingRequest = z.looseObject({
  stage: z.enum(TRAINING_STAGES).nullish().meta({
    description:
      "reward: the reward model on comparisons; sft: the policy on corrections; ppo: the " +
      "policy on the rewards of its answers to prompts that were judged",
    default: "reward",
  }),
  settings: z.record(z.string(), z.unknown()).nullish().meta({
    description: "Of `brachio train` for the stage, over those of the server",
  }),
}).meta({ id: "TrainingRequest" });

const part = z.object({ rows: z.int(), pairs: z.int() }).nullable();

/** One training. */
export const trainingRound = z.object({
  id: z.int(),
  object: z.literal("training"),
  stage: z.enum(TRAINING_STAGES),
  run: z.string().meta({ description: "The run that gets a version" }),
  by: z.string().meta({ description: "feedback, or the id of the API key that asked" }),
  started: z.string(),
  state: z.enum(["running", "done", "failed"]),
  data: z.object({
    dataset_version: z.int(),
    train: part,
    held_out: part,
    without_prompt: z.int().meta({ description: "Records whose prompt's text is not kept" }),
    distrusted: z.int().meta({ description: "Pairs that guards let count for nothing" }),
  }).nullable(),
  progress: z.unknown().meta({ description: "The last that was told of it" }),
  judged: z.looseObject({
    verdict: z.enum(["not_worse", "worse", "insufficient"]),
    pairs: z.int(),
    prompts: z.int(),
    bound: z.number().nullable().meta({
      description: "One-sided 90 % bound of the new version's log-loss minus the old one's, nats",
    }),
  }).nullable().meta({ description: "What held-out feedback says of a reward model" }),
  step: z.int().nullable().meta({ description: "Of the version that it made: run@step" }),
  swapped: z.boolean().nullable().meta({ description: "Whether that version is served now" }),
  error: z.string().nullable(),
}).meta({ id: "Training" });

/** {@linkcode trainingRound}. */
export type TrainingBody = z.output<typeof trainingRound>;

/** How the loop stands. */
export const trainingState = z.object({
  object: z.literal("training.state"),
  new_pairs: z.int().meta({ description: "Since the reward model was last trained" }),
  after: z.int().meta({ description: "New pairs after which it is trained by itself; 0: never" }),
  data: z.array(trainingRound).meta({ description: "The latest trainings, the newest first" }),
}).meta({ id: "TrainingState" });

/** The query of the audit list. */
export const auditQuery = z.object({
  limit: z.coerce.number().int().min(1).max(1000).optional().meta({ description: "Default 100" }),
});

/** Changes of what is served. */
export const auditList = z.object({
  object: z.literal("list"),
  data: z.array(z.object({
    time: z.string(),
    event: z.string(),
    run: z.string(),
    by: z.string(),
    detail: z.record(z.string(), z.unknown()),
  })).meta({ description: "The newest first" }),
}).meta({ id: "AuditList" });

/**
 * Configuration of direct preference optimisation.
 *
 * @module
 */
import * as z from "zod";
import { type EpochConfig, epochFields } from "./epoch_config.ts";

/** A resolved configuration; its examples are prompts with all their responses. */
export interface DpoConfig extends EpochConfig {
  /** How much a log-probability counts that differs from the reference's. */
  beta: number;
}

/**
 * Rafailov et al. 2023, appendix B, by default: beta 0.1, 64 prompts, one epoch, no dropout, a
 * constant rate after a warm-up. Their learning rate is that of a large model; ours is for small
 * ones.
 *
 * @ignore its type is zod's
 */
export const dpoSchema: z.ZodType<DpoConfig> = z.strictObject({
  ...epochFields({ epochs: 1, batchRows: 64, dropout: 0 }),
  beta: z.number().positive().default(0.1),
  lr: z.number().positive().default(1e-5),
  warmup: z.number().min(0).lt(1).default(0.1),
  schedule: z.enum(["cosine", "linear", "constant"]).default("constant"),
});

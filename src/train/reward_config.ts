/**
 * Configuration of training a reward model.
 *
 * @module
 */
import * as z from "zod";
import { type EpochConfig, epochFields } from "./epoch_config.ts";

/** A resolved configuration; its examples are prompts with all their responses. */
export type RewardConfig = EpochConfig;

/**
 * Ouyang et al. 2022, appendix C.2, by default: one epoch, as more would learn the data by heart,
 * 64 prompts, cosine to a tenth, no dropout. Their learning rate is that of a large model; ours is
 * for small ones.
 *
 * @ignore its type is zod's
 */
export const rewardSchema: z.ZodType<RewardConfig> = z.strictObject(
  epochFields({ epochs: 1, batchRows: 64, dropout: 0 }),
);

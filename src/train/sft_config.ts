/**
 * Configuration of supervised fine-tuning on dialogues.
 *
 * @module
 */
import * as z from "zod";
import { type EpochConfig, epochFields } from "./epoch_config.ts";

/** A resolved configuration. */
export interface SftConfig extends EpochConfig {
  /**
   * Lets dialogues share rows of `maxTokens`, none seeing another; batchRows then counts rows of
   * several dialogues.
   */
  packing: boolean;
  /**
   * Run of a reward model, `name` or `name@step`: the best checkpoint is then the one whose answers
   * to held-out prompts it rewards most, not the one of the lowest loss.
   */
  reward?: string | undefined;
  /** Held-out prompts that are answered for it at an evaluation; 0 is all. */
  evalRows: number;
  /** The most tokens of such an answer. */
  responseTokens: number;
  /** Share of an update's rows that are text of pre-training. */
  pretrainShare: number;
  /** Files, folders and patterns of that text. */
  pretrainData: string[];
  /** Field of its JSONL lines that holds their text. */
  field: string;
}

/**
 * Ouyang et al. 2022, appendix C.1, by default: 16 epochs, dropout of 0.2, cosine to a tenth, 32
 * rows. Their learning rate is that of a large model; ours is for small ones.
 *
 * @ignore its type is zod's
 */
export const sftSchema: z.ZodType<SftConfig> = z.strictObject({
  ...epochFields({ epochs: 16, batchRows: 32, dropout: 0.2 }),
  packing: z.boolean().default(false),
  reward: z.string().min(1).optional(),
  evalRows: z.int().min(0).default(0),
  responseTokens: z.int().min(1).default(128),
  pretrainShare: z.number().min(0).max(0.9).default(0),
  pretrainData: z.array(z.string().min(1)).default([]),
  field: z.string().default("text"),
});

/**
 * Checks what belongs together. @throws {RangeError} Naming the values that do not fit each other.
 */
export function checkPretrainShare({ pretrainShare, pretrainData }: SftConfig): void {
  const isAsked = pretrainShare > 0;
  if (isAsked === pretrainData.length > 0) return;
  throw new RangeError(
    "Cannot use this configuration: want pretrainData and a pretrainShare above 0, or neither: " +
      `got ${JSON.stringify(pretrainData)} and ${pretrainShare}`,
  );
}

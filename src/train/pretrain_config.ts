/**
 * Configuration of pre-training: one schema, its presets and what they mean together.
 *
 * @module
 */
import * as z from "zod";
import { checkConfig, type ModelConfig, type PresetName, PRESETS } from "../model/config.ts";

const count = z.int().min(1);
const share = z.number().min(0).lt(1);

/** Schema of `brachio train pretrain`. */
export const pretrainSchema = z.strictObject({
  /** Files, folders and patterns; empty for the built-in text. */
  data: z.array(z.string()).default([]),
  /** Field of JSONL lines that holds their text. */
  field: z.string().default("text"),
  /** `char`, `gpt2`, `bpe` (trained on the data) or the path of a tokenizer.json. */
  tokenizer: z.string().default("bpe"),
  /** Tokens of a trained tokenizer. */
  vocabSize: z.int().min(264).default(1024),
  /** Share of the data held out for validation. */
  validation: share.default(0.1),
  model: z.strictObject({
    contextLength: count.default(64),
    layers: count.default(4),
    heads: count.default(4),
    channels: count.default(128),
    norm: z.enum(["pre", "post"]).default("pre"),
    activation: z.enum(["gelu", "gelu_erf"]).default("gelu"),
    bias: z.boolean().default(true),
    band: z.int().min(0).default(0),
    layerNormEps: z.number().positive().default(1e-5),
  }).prefault({}),
  /** Updates. */
  steps: count.default(500),
  /** Rows of an update. */
  batchRows: count.default(12),
  /** Rows of a micro-batch; an update adds up batchRows / microRows of them. */
  microRows: count.optional(),
  /** Tokens of a row; the whole context unless less. */
  sequenceLength: count.optional(),
  /** Random windows as nanoGPT draws them, or every window once an epoch. */
  order: z.enum(["random", "epochs"]).default("random"),
  lr: z.number().positive().default(1e-3),
  minLr: z.number().min(0).default(1e-4),
  warmupSteps: z.int().min(0).default(100),
  schedule: z.enum(["cosine", "linear", "constant"]).default("cosine"),
  /** Rows of the first update and steps until batchRows; 0 steps is no ramp. */
  ramp: z.strictObject({ startRows: count.default(1), steps: z.int().min(0).default(0) })
    .prefault({}),
  beta1: share.default(0.9),
  beta2: share.default(0.99),
  eps: z.number().positive().default(1e-8),
  weightDecay: z.number().min(0).default(0.1),
  /** Largest global norm of the gradient; 0 does not clip. */
  clip: z.number().min(0).default(1),
  dropout: share.default(0),
  seed: z.int().min(0).default(1337),
  /** Steps between evaluations; the last step is always evaluated. */
  evalEvery: count.default(250),
  /** Batches of an evaluation; 0 is the whole split, as at the end. */
  evalBatches: z.int().min(0).default(20),
  /** Steps between checkpoints; the last step is always saved. */
  saveEvery: count.default(250),
  /** Checkpoints kept beside the best one. */
  keep: count.default(2),
});

/** A resolved configuration. */
export type PretrainConfig = z.output<typeof pretrainSchema>;

/** Values of a training preset, under the schema's names. */
export type PretrainPreset = z.input<typeof pretrainSchema>;

/** nanoGPT's recipe for a laptop: `config/train_shakespeare_char.py` with the flags of its README. */
const SHAKESPEARE_CHAR_CPU: PretrainPreset = {
  tokenizer: "char",
  steps: 2000,
  batchRows: 12,
  lr: 1e-3,
  minLr: 1e-4,
  warmupSteps: 100,
  beta2: 0.99,
  weightDecay: 0.1,
  evalEvery: 250,
};

/** What `--preset NAME` means: a model size, and for some a recipe. */
export function presetValues(name: string): PretrainPreset {
  if (!Object.hasOwn(PRESETS, name)) {
    throw new RangeError(
      `Cannot use preset "${name}": one of ${Object.keys(PRESETS).join(", ")}`,
    );
  }
  const { vocabSize: _, ...model } = PRESETS[name as PresetName] satisfies ModelConfig;
  const recipe = name === "shakespeare-char-cpu" ? SHAKESPEARE_CHAR_CPU : {
    tokenizer: "gpt2",
    ...(name === "gpt1" ? { lr: 2.5e-4, minLr: 0, warmupSteps: 2000, weightDecay: 0.01 } : {}),
  };
  return { ...recipe, model };
}

/**
 * The decoder of a configuration, and checks that no single field can make.
 *
 * @throws {RangeError} Naming the values that do not fit each other.
 */
export function resolveModel(config: PretrainConfig, vocabSize: number): ModelConfig {
  const fail = (want: string, state: string): never => {
    throw new RangeError(`Cannot use this configuration: ${want}: got ${state}`);
  };
  const { batchRows, microRows = batchRows, sequenceLength, model } = config;
  if (batchRows % microRows !== 0) {
    fail(`batchRows a multiple of microRows (${microRows})`, `${batchRows}`);
  }
  if (sequenceLength !== undefined && sequenceLength > model.contextLength) {
    fail(`sequenceLength up to contextLength (${model.contextLength})`, `${sequenceLength}`);
  }
  return checkConfig({ ...model, vocabSize });
}

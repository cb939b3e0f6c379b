/**
 * Configuration of pre-training: one schema, its presets and what they mean together.
 *
 * @module
 */
import * as z from "zod";
import { checkConfig, type ModelConfig, type PresetName, PRESETS } from "../model/config.ts";

const count = z.int().min(1);
const share = z.number().min(0).lt(1);

/** A resolved configuration. */
export interface PretrainConfig {
  /** Files, folders and patterns. */
  data: string[];
  /** Field of JSONL lines that holds their text. */
  field: string;
  /** `char`, `gpt2`, `bpe` (trained on the data) or the path of a tokenizer.json. */
  tokenizer: string;
  /** Tokens of a trained tokenizer. */
  vocabSize: number;
  /** Share of the data held out for validation; 0 does without evaluation. */
  validation: number;
  /** The decoder, but for its vocabulary, which is the tokenizer's. */
  model: Mutable<Omit<ModelConfig, "vocabSize">>;
  /** Updates. */
  steps: number;
  /** Rows of an update. */
  batchRows: number;
  /** Rows of a micro-batch; an update adds up batchRows / microRows of them. */
  microRows?: number | undefined;
  /** Tokens of a row; the whole context unless less. */
  sequenceLength?: number | undefined;
  /** Random windows as nanoGPT draws them, or every window once an epoch. */
  order: "random" | "epochs";
  /** Learning rate at its peak. */
  lr: number;
  /** Learning rate at the end. */
  minLr: number;
  /** Updates until the peak. */
  warmupSteps: number;
  /** From the peak to the end. */
  schedule: "cosine" | "linear" | "constant";
  /** Rows of the first update and steps until batchRows; 0 steps is no ramp. */
  ramp: { startRows: number; steps: number };
  /** Of AdamW's first moment. */
  beta1: number;
  /** Of AdamW's second moment. */
  beta2: number;
  /** Of AdamW's divisor. */
  eps: number;
  /** Of matrices and embeddings, times the learning rate. */
  weightDecay: number;
  /** Largest global norm of the gradient; 0 does not clip. */
  clip: number;
  /** Share of activations left out in training. */
  dropout: number;
  /** Computes each block's activations again in the backward instead of keeping them. */
  recomputeActivations: boolean;
  /** Of the weights, the data's order and dropout. */
  seed: number;
  /** Steps between evaluations; the last step is always evaluated. */
  evalEvery: number;
  /** Batches of an evaluation; 0 is the whole split, as at the end. */
  evalBatches: number;
  /** Tokens of the text that is written at each evaluation; 0 for none. */
  sampleTokens: number;
  /** Steps between checkpoints; the last step is always saved. */
  saveEvery: number;
  /** Checkpoints kept beside the best one. */
  keep: number;
}

/** Values of a training preset; all else has its default. */
export type PretrainPreset =
  & Partial<Omit<PretrainConfig, "model" | "ramp">>
  & { model?: Partial<PretrainConfig["model"]>; ramp?: Partial<PretrainConfig["ramp"]> };

/** The same fields, not read-only. */
export type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Schema of `brachio train pretrain`: what checks and completes a {@linkcode PretrainConfig}.
 *
 * @ignore its type is zod's
 */
export const pretrainSchema: z.ZodType<PretrainConfig> = z.strictObject({
  data: z.array(z.string()).default([]),
  field: z.string().default("text"),
  tokenizer: z.string().default("bpe"),
  vocabSize: z.int().min(264).default(1024),
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
  steps: count.default(500),
  batchRows: count.default(12),
  microRows: count.optional(),
  sequenceLength: count.optional(),
  order: z.enum(["random", "epochs"]).default("random"),
  lr: z.number().positive().default(1e-3),
  minLr: z.number().min(0).default(1e-4),
  warmupSteps: z.int().min(0).default(100),
  schedule: z.enum(["cosine", "linear", "constant"]).default("cosine"),
  ramp: z.strictObject({ startRows: count.default(1), steps: z.int().min(0).default(0) })
    .prefault({}),
  beta1: share.default(0.9),
  beta2: share.default(0.99),
  eps: z.number().positive().default(1e-8),
  weightDecay: z.number().min(0).default(0.1),
  clip: z.number().min(0).default(1),
  dropout: share.default(0),
  recomputeActivations: z.boolean().default(false),
  seed: z.int().min(0).default(1337),
  evalEvery: count.default(250),
  evalBatches: z.int().min(0).default(20),
  sampleTokens: z.int().min(0).default(100),
  saveEvery: count.default(250),
  keep: count.default(2),
});

/**
 * nanoGPT's recipe for a laptop: `config/train_shakespeare_char.py` with the flags of its README.
 */
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

/** nanoGPT's recipe for a GPU: `config/train_shakespeare_char.py` as it is. */
const SHAKESPEARE_CHAR: PretrainPreset = {
  ...SHAKESPEARE_CHAR_CPU,
  evalBatches: 200,
  steps: 5000,
  batchRows: 64,
  dropout: 0.2,
};

const RECIPES: Readonly<Record<string, PretrainPreset>> = {
  "shakespeare-char": SHAKESPEARE_CHAR,
  "shakespeare-char-cpu": SHAKESPEARE_CHAR_CPU,
};

/** What `--preset NAME` means: a model size, and for some a recipe. */
export function presetValues(name: string): PretrainPreset {
  if (!Object.hasOwn(PRESETS, name)) {
    throw new RangeError(
      `Cannot use preset "${name}": one of ${Object.keys(PRESETS).join(", ")}`,
    );
  }
  const { vocabSize: _, ...model } = PRESETS[name as PresetName] satisfies ModelConfig;
  const recipe = RECIPES[name] ?? {
    tokenizer: "gpt2",
    ...(name === "gpt1" ? { lr: 2.5e-4, minLr: 0, warmupSteps: 2000, weightDecay: 0.01 } : {}),
  };
  return { ...recipe, model };
}

/**
 * What a resumed run may change; all else must be as it began: evalBatches too, as the best
 * checkpoint is the one of the lowest loss on the same tokens.
 */
const CHANGEABLE: readonly (keyof PretrainConfig)[] = [
  ...["steps", "lr", "minLr", "warmupSteps", "schedule"] as const,
  ...["beta1", "beta2", "eps", "weightDecay", "clip"] as const,
  ...["evalEvery", "sampleTokens", "saveEvery", "keep", "recomputeActivations"] as const,
];

/** Names of settings that differ and that a resumed run cannot change. */
export function fixedDifferences(began: PretrainConfig, wanted: PretrainConfig): string[] {
  const names = Object.keys({ ...began, ...wanted }) as (keyof PretrainConfig)[];
  return names.filter((name) =>
    !CHANGEABLE.includes(name) && JSON.stringify(began[name]) !== JSON.stringify(wanted[name])
  );
}

/**
 * Checks what no single field can say, as far as that needs no data.
 *
 * @throws {RangeError} Naming the values that do not fit each other.
 */
export function checkPretrainConfig(config: PretrainConfig): void {
  const fail = (want: string, state: unknown): never => {
    throw new RangeError(`Cannot use this configuration: want ${want}: got ${state}`);
  };
  const { batchRows, microRows = batchRows, sequenceLength, model, ramp } = config;
  if (batchRows % microRows !== 0) {
    fail(`batchRows a multiple of microRows (${microRows})`, batchRows);
  }
  if (sequenceLength !== undefined && sequenceLength > model.contextLength) {
    fail(`sequenceLength up to model.contextLength (${model.contextLength})`, sequenceLength);
  }
  if (ramp.startRows > batchRows) {
    fail(`ramp.startRows up to batchRows (${batchRows})`, ramp.startRows);
  }
  if (config.schedule !== "constant" && config.minLr > config.lr) {
    fail(`minLr up to lr (${config.lr})`, config.minLr);
  }
  resolveModel(config, 1);
}

/**
 * The decoder of a configuration.
 *
 * @throws {RangeError} Naming the first value that does not fit.
 */
export function resolveModel({ model }: PretrainConfig, vocabSize: number): ModelConfig {
  return checkConfig({ ...model, vocabSize });
}

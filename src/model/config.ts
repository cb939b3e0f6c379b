/**
 * What a decoder is: one configuration covers GPT-1 (post-LN), GPT-2 (pre-LN) and GPT-3 (pre-LN
 * with alternating dense and banded attention).
 *
 * @module
 */

/** Architecture of a decoder. */
export interface ModelConfig {
  /** V: live rows of the token embedding. */
  readonly vocabSize: number;
  /** Longest sequence: rows of the position embedding. */
  readonly contextLength: number;
  /** L: blocks. */
  readonly layers: number;
  /** NH: attention heads; C must be a multiple. */
  readonly heads: number;
  /** C: width of the residual stream. */
  readonly channels: number;
  /**
   * Where layer norm sits: after each sub-layer (GPT-1) or before it, with a last one (GPT-2,
   * GPT-3).
   */
  readonly norm: "post" | "pre";
  /** GELU by tanh (GPT-1 to GPT-3) or exact. */
  readonly activation: "gelu" | "gelu_erf";
  /** Whether linear layers and layer norms have a bias. */
  readonly bias: boolean;
  /**
   * Keys that a query sees in every second block, its own included; 0 makes every block dense.
   * GPT-3 alternates dense and locally banded blocks, in the manner of the Sparse Transformer.
   */
  readonly band: number;
  /** Added to the variance in layer norms. */
  readonly layerNormEps: number;
}

/** The architecture of GPT-2 and, with a band, of GPT-3; sizes are given. */
const PRE_LN = {
  norm: "pre",
  activation: "gelu",
  bias: true,
  band: 0,
  layerNormEps: 1e-5,
} as const;

const GPT2_VOCAB = 50_257;

function gpt2(layers: number, channels: number, heads: number): ModelConfig {
  return { ...PRE_LN, vocabSize: GPT2_VOCAB, contextLength: 1024, layers, channels, heads };
}

function gpt3(layers: number, channels: number, heads: number): ModelConfig {
  return { ...gpt2(layers, channels, heads), contextLength: 2048, band: 256 };
}

/**
 * Published sizes and small ones for a CPU.
 *
 * GPT-1: Radford et al. 2018; GPT-2: Radford et al. 2019 with the sizes of the released weights;
 * GPT-3: Brown et al. 2020, table 2.1, with the two sizes whose printed width and heads do not fit
 * each other taken as 16 heads of 128 (XL) and a width of 5,120 (13B). The paper prints no band;
 * 256 is this project's choice.
 */
export const PRESETS = {
  "gpt1": {
    vocabSize: 40_478,
    contextLength: 512,
    layers: 12,
    channels: 768,
    heads: 12,
    norm: "post",
    activation: "gelu",
    bias: true,
    band: 0,
    layerNormEps: 1e-5,
  },
  "gpt2": gpt2(12, 768, 12),
  "gpt2-medium": gpt2(24, 1024, 16),
  "gpt2-large": gpt2(36, 1280, 20),
  "gpt2-xl": gpt2(48, 1600, 25),
  "gpt3-small": gpt3(12, 768, 12),
  "gpt3-medium": gpt3(24, 1024, 16),
  "gpt3-large": gpt3(24, 1536, 16),
  "gpt3-xl": gpt3(24, 2048, 16),
  "gpt3-2.7b": gpt3(32, 2560, 32),
  "gpt3-6.7b": gpt3(32, 4096, 32),
  "gpt3-13b": gpt3(40, 5120, 40),
  "gpt3-175b": gpt3(96, 12288, 96),
  // Four layers of 128 channels train on two CPU cores in minutes: nanoGPT's recipe for a laptop.
  "shakespeare-char-cpu": {
    ...PRE_LN,
    vocabSize: 65,
    contextLength: 64,
    layers: 4,
    channels: 128,
    heads: 4,
    activation: "gelu_erf",
    bias: false,
  },
  // Six layers of 384: nanoGPT's recipe for a GPU.
  "shakespeare-char": {
    ...PRE_LN,
    vocabSize: 65,
    contextLength: 256,
    layers: 6,
    channels: 384,
    heads: 6,
    activation: "gelu_erf",
    bias: false,
  },
} as const satisfies Record<string, ModelConfig>;

/** Name of a preset. */
export type PresetName = keyof typeof PRESETS;

/**
 * Checks a configuration.
 *
 * @throws {RangeError} Naming the first value that does not fit.
 */
export function checkConfig(config: ModelConfig): ModelConfig {
  const fail = (want: string, state: unknown): never => {
    throw new RangeError(`Cannot use a model configuration: ${want}: got ${state}`);
  };
  for (const name of ["vocabSize", "contextLength", "layers", "heads", "channels"] as const) {
    if (!Number.isInteger(config[name]) || config[name] < 1) {
      fail(`${name} a whole number from 1`, config[name]);
    }
  }
  if (config.channels % config.heads !== 0) {
    fail(`channels a multiple of heads (${config.heads})`, config.channels);
  }
  if (!Number.isInteger(config.band) || config.band < 0) {
    fail("band a whole number from 0", config.band);
  }
  if (!(config.layerNormEps > 0)) fail("layerNormEps above 0", config.layerNormEps);
  return config;
}

/** The band of a block: GPT-3 begins dense and alternates. */
export function bandOf(config: ModelConfig, layer: number): number {
  return layer % 2 === 1 ? config.band : 0;
}

/**
 * `config.json`: a decoder's configuration under Hugging Face's names.
 *
 * What `transformers` would load to other numbers, or not whole, says `model_type: "brachio"`:
 * banded attention and decoders without biases.
 *
 * @module
 */
import { z } from "zod";
import { checkConfig, type ModelConfig } from "./config.ts";

const ACTIVATION = { gelu: "gelu_new", gelu_erf: "gelu" } as const;

const schema = z.object({
  model_type: z.enum(["gpt2", "openai-gpt", "brachio"]),
  vocab_size: z.int().positive(),
  n_positions: z.int().positive(),
  n_embd: z.int().positive(),
  n_layer: z.int().positive(),
  n_head: z.int().positive(),
  activation_function: z.string().optional(),
  afn: z.string().optional(), // OpenAI GPT's name of it
  layer_norm_epsilon: z.number().positive().default(1e-5),
  brachio: z.object({
    norm: z.enum(["pre", "post"]),
    bias: z.boolean(),
    band: z.int().min(0),
  }).optional(),
});

/** The content of `config.json`. */
export function configToJson(config: ModelConfig): Record<string, unknown> {
  const { norm, bias, band } = config;
  const plain = bias && band === 0;
  const activation = ACTIVATION[config.activation];
  return {
    model_type: !plain ? "brachio" : norm === "post" ? "openai-gpt" : "gpt2",
    architectures: plain ? [norm === "post" ? "OpenAIGPTLMHeadModel" : "GPT2LMHeadModel"] : [],
    vocab_size: config.vocabSize,
    n_positions: config.contextLength,
    n_ctx: config.contextLength,
    n_embd: config.channels,
    n_layer: config.layers,
    n_head: config.heads,
    // OpenAI GPT calls the approximation by tanh plain "gelu".
    ...(norm === "post"
      ? { afn: config.activation === "gelu" ? "gelu" : "gelu_erf" }
      : { activation_function: activation }),
    layer_norm_epsilon: config.layerNormEps,
    initializer_range: 0.02,
    tie_word_embeddings: true,
    ...(plain ? {} : { brachio: { norm, bias, band } }),
  };
}

/**
 * Reads a configuration written by {@linkcode configToJson} or by `transformers`.
 *
 * @throws {RangeError} Naming the first field that is missing or does not fit.
 */
export function configFromJson(json: unknown): ModelConfig {
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw new RangeError(`Cannot read config.json: "${path.join(".")}": ${message}`);
  }
  const { data } = parsed;
  const norm = data.brachio?.norm ?? (data.model_type === "openai-gpt" ? "post" : "pre");
  const name = data.afn ?? data.activation_function ?? "gelu_new";
  const tanh = norm === "post" ? ["gelu", "gelu_new"] : ["gelu_new", "gelu_pytorch_tanh"];
  const exact = norm === "post" ? ["gelu_erf"] : ["gelu"];
  if (!tanh.includes(name) && !exact.includes(name)) {
    throw new RangeError(
      `Cannot read config.json: activation ${[...tanh, ...exact].join(" or ")}: got "${name}"`,
    );
  }
  return checkConfig({
    vocabSize: data.vocab_size,
    contextLength: data.n_positions,
    layers: data.n_layer,
    heads: data.n_head,
    channels: data.n_embd,
    norm,
    activation: tanh.includes(name) ? "gelu" : "gelu_erf",
    bias: data.brachio?.bias ?? true,
    band: data.brachio?.band ?? 0,
    layerNormEps: data.layer_norm_epsilon,
  });
}

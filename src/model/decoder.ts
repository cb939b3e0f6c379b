/**
 * The decoder: token and position embedding, L blocks of attention and a two-layer perceptron, and
 * for pre-LN a last layer norm. Recorded into a plan, differentiable by the plan's tape.
 *
 * @module
 */
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { attention } from "../ops/attention.ts";
import { attentionCached, type CachedRows, type CacheLayer } from "../ops/attention_cached.ts";
import { addDropout, dropout, type DropoutState } from "../ops/dropout.ts";
import { embedding } from "../ops/embedding.ts";
import { layernorm } from "../ops/layernorm.ts";
import { linear } from "../ops/linear.ts";
import { bandOf, type ModelConfig } from "./config.ts";
import {
  type BlockNames,
  blockNames,
  embeddingNames,
  FINAL_NORM,
  type Weights,
} from "./parameters.ts";

/** What a decoder reads in every replay. */
export interface DecoderInputs {
  /** (B, T) token ids, u32. */
  ids: Tensor;
  /** Rows of each distinct token, for the gradient of the embedding; see `buildBuckets`. */
  buckets?: Tensor;
  /** (B) live tokens of each row, u32; absent when all T are. */
  lengths?: Tensor;
  /** In place of lengths: rows that hold several texts each. */
  packed?: PackedInputs;
  /** For training; absent where nothing is dropped. */
  dropout?: DecoderDropout;
  /**
   * Keeps no activation of a block but its result: the backward records the block once more. Costs
   * one more forward; gradients are the same bits.
   *
   * @default false
   */
  recompute?: boolean;
  /** Keys and values of earlier tokens, for inference: ids are then (N, 1), rows as it says. */
  cache?: DecoderCache;
}

/** Where each token of rows of several texts is: none sees another text, positions begin anew. */
export interface PackedInputs {
  /** (2, B, T) u32: where the text of each token starts in its row, and where it ends. */
  readonly segments: Tensor;
  /** (B, T) u32: the token's place in its text. */
  readonly positions: Tensor;
  /** `buildBuckets(positions)`, for the gradient of their embedding. */
  readonly positionBuckets?: Tensor | undefined;
}

/** A cache for every block, and where the rows of a replay are in it. */
export interface DecoderCache {
  /** One a block; keys and values (slots, C) f32. */
  readonly layers: readonly CacheLayer[];
  /** Where each row of a replay is cached. */
  readonly rows: CachedRows;
}

/**
 * Dropout of a training plan: one rate for embeddings, attention and residual paths, as published.
 */
export interface DecoderDropout {
  /** In [0, 1). */
  rate: number;
  /** Seed and step of the masks. */
  state: DropoutState;
}

/**
 * Sites of dropout in a block, so that no two masks are alike: 3 a block after the embedding's 0.
 */
const SITES_A_BLOCK = 3;

/**
 * Records the decoder.
 *
 * @returns hidden states (B, T, C), after the last layer norm where the architecture has one.
 * @throws {RangeError} When the sequence is longer than the context.
 */
export function decoder(plan: Plan, weights: Weights, inputs: DecoderInputs): Tensor {
  const { config } = weights;
  const [B, T] = inputs.ids.shape as [number, number];
  if (T > config.contextLength) {
    throw new RangeError(
      `Cannot record a decoder: at most contextLength ${config.contextLength} tokens: ` +
        `"${inputs.ids.label}" is (${B}, ${T})`,
    );
  }
  const { wte, wpe } = embeddingNames(config);
  const positions = inputs.cache?.rows.positions ?? inputs.packed?.positions;
  const positionBuckets = inputs.packed?.positionBuckets;
  let x = embedding(
    plan,
    inputs.ids,
    { wte: weights.sharded(wte), wpe: weights.parameter(wpe) },
    {
      ...(inputs.buckets ? { buckets: inputs.buckets } : {}),
      ...(positions ? { positions } : {}),
      ...(positionBuckets ? { positionBuckets } : {}),
    },
  );
  if (inputs.dropout) x = dropout(plan, x, { ...inputs.dropout, site: 0 });
  for (let layer = 0; layer < config.layers; layer++) {
    const inp = x;
    const record = () => block(plan, weights, inputs, layer, inp);
    // A mask is a function of site, step and micro-batch: the second recording draws it again.
    x = inputs.recompute ? plan.recompute(record) : record();
  }
  return config.norm === "pre" ? norm(plan, weights, FINAL_NORM, x) : x;
}

/** One block: pre-LN x + f(LN(x)) twice (GPT-2), or post-LN LN(x + f(x)) twice (GPT-1). */
function block(
  plan: Plan,
  weights: Weights,
  inputs: DecoderInputs,
  layer: number,
  x: Tensor,
): Tensor {
  const names = blockNames(layer);
  const site = 1 + layer * SITES_A_BLOCK;
  const pre = weights.config.norm === "pre";
  const attend = (inp: Tensor, residual: Tensor) =>
    attentionLayer(plan, weights, inputs, { layer, site, names }, inp, residual);
  const perceive = (inp: Tensor, residual: Tensor) => {
    const { activation } = weights.config;
    const up = linear(plan, inp, weights.layer(names.up), { activation });
    return project(plan, weights, names.down, up, residual, dropoutAt(inputs, site + 2));
  };
  if (pre) {
    x = attend(norm(plan, weights, names.ln1, x), x);
    return perceive(norm(plan, weights, names.ln2, x), x);
  }
  x = norm(plan, weights, names.ln1, attend(x, x));
  return norm(plan, weights, names.ln2, perceive(x, x));
}

function attentionLayer(
  plan: Plan,
  weights: Weights,
  inputs: DecoderInputs,
  place: { layer: number; site: number; names: BlockNames },
  inp: Tensor,
  residual: Tensor,
): Tensor {
  const { config } = weights;
  const { layer, site, names } = place;
  const qkv = linear(plan, inp, weights.layer(names.attention));
  const shape = { heads: config.heads, band: bandOf(config, layer) };
  const { cache } = inputs;
  const mixed = cache
    ? attentionCached(plan, qkv, cache.layers[layer]!, { ...cache.rows, ...shape })
    : attention(plan, qkv, {
      ...shape,
      ...(inputs.lengths ? { lengths: inputs.lengths } : {}),
      ...(inputs.packed ? { segments: inputs.packed.segments } : {}),
      ...(inputs.dropout ? { dropout: dropoutAt(inputs, site)! } : {}),
    });
  return project(plan, weights, names.attentionOut, mixed, residual, dropoutAt(inputs, site + 1));
}

/** residual + dropout(inp · weight + bias); without dropout the sum is part of the product. */
function project(
  plan: Plan,
  weights: Weights,
  name: string,
  inp: Tensor,
  residual: Tensor,
  drop: (DecoderDropout & { site: number }) | undefined,
): Tensor {
  const layer = weights.layer(name);
  if (!drop) return linear(plan, inp, layer, { residual });
  return addDropout(plan, residual, linear(plan, inp, layer), drop);
}

function norm(plan: Plan, weights: Weights, name: string, inp: Tensor): Tensor {
  return layernorm(plan, inp, weights.layer(name), { eps: weights.config.layerNormEps });
}

function dropoutAt(
  { dropout }: DecoderInputs,
  site: number,
): (DecoderDropout & { site: number }) | undefined {
  return dropout && dropout.rate > 0 ? { ...dropout, site } : undefined;
}

/** Floating-point operations of one forward over B rows of T tokens, the head included. */
export function forwardFlops(config: ModelConfig, B: number, T: number): number {
  const { channels: C, layers: L, vocabSize: V } = config;
  const products = L * 12 * C * C + V * C;
  let pairs = 0; // (query, key) pairs of one row over all blocks
  for (let layer = 0; layer < L; layer++) {
    const band = bandOf(config, layer) || T;
    for (let t = 1; t <= T; t++) pairs += Math.min(t, band);
  }
  return 2 * B * (T * products + 2 * C * pairs);
}

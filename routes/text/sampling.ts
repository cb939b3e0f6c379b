/**
 * Sampling parameters of OpenAI's objects as the engine takes them.
 *
 * @module
 */
import type { SamplingOptions } from "../../src/infer/sampler.ts";
import type { CompletionRequest } from "../schemas/completions.ts";

/** The parameters that decide how tokens are chosen. */
export type SamplingParameters = Pick<
  CompletionRequest,
  | "temperature"
  | "top_p"
  | "top_k"
  | "min_p"
  | "presence_penalty"
  | "frequency_penalty"
  | "repetition_penalty"
  | "no_repeat_ngram_size"
  | "logit_bias"
>;

/** Leaves the likeliest token only, as 0 does for OpenAI; the engine wants more than 0, in f32. */
const LEAST_TOP_P = 2 ** -20;

/** With OpenAI's defaults; the seed and the number of the first choice are the caller's. */
export function samplingOf(
  parameters: SamplingParameters,
  { seed, choice }: { seed: number; choice: number },
): SamplingOptions {
  const bias = Object.entries(parameters.logit_bias ?? {});
  return {
    temperature: parameters.temperature ?? 1,
    topP: Math.max(LEAST_TOP_P, parameters.top_p ?? 1),
    topK: Math.max(0, parameters.top_k ?? 0),
    minP: parameters.min_p ?? 0,
    presencePenalty: parameters.presence_penalty ?? 0,
    frequencyPenalty: parameters.frequency_penalty ?? 0,
    repetitionPenalty: parameters.repetition_penalty ?? 1,
    noRepeatNgram: parameters.no_repeat_ngram_size ?? 0,
    logitBias: bias.map(([id, by]) => [Number(id), by] as const),
    seed,
    choice,
  };
}

/**
 * Any 64-bit integer as a seed of the engine, in [0, 2^53): those there stay as they are, of others
 * the upper bits are folded in.
 *
 * @example
 * ```ts
 * import { foldSeed } from "./sampling.ts";
 * console.assert(foldSeed(1234) === 1234 && foldSeed(-1) !== foldSeed(-2));
 * ```
 */
export function foldSeed(seed: number): number {
  const bits = BigInt.asUintN(64, BigInt(seed));
  return Number(BigInt.asUintN(53, bits ^ (bits >> 53n)));
}

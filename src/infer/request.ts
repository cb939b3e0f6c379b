/**
 * What a text asks of the engine, and what it is told while the text is written. Plain data, so
 * that it crosses to and from a Worker as it is.
 *
 * @module
 */
import type { SamplingOptions } from "./sampler.ts";

/** A prompt, and how to write on from it. */
export interface TextRequest {
  /** Ids; one or more. */
  readonly prompt: readonly number[];
  /** At most so many tokens a choice; 0 only takes the prompt in, to score it. */
  readonly maxTokens: number;
  /** Texts from this prompt, which is taken in once. @default 1 */
  readonly choices?: number;
  /** Choice j draws with Philox's choice number `sampling.choice + j`. @default {} */
  readonly sampling?: SamplingOptions;
  /**
   * Tokens that end a text; the token is told of, then the end. At most {@linkcode MOST_STOP_IDS}.
   */
  readonly stopIds?: readonly number[];
  /** With each token so many of the most likely, at most {@linkcode MOST_TOP}. @default 0 */
  readonly top?: number;
  /** Whether to score the prompt's tokens too. @default false */
  readonly scorePrompt?: boolean;
  /**
   * The first token of the prompt that {@linkcode scorePrompt} tells of. Blocks before it may come
   * from earlier prompts, and the vocabulary's logits are not computed there. @default 0
   */
  readonly scoreFrom?: number;
  /** Whether blocks of earlier prompts may be used, and these kept for later ones. @default true */
  readonly prefixCache?: boolean;
}

/** The most ids of {@linkcode TextRequest.stopIds}. */
export const MOST_STOP_IDS = 4;

/** The most of {@linkcode TextRequest.top}. */
export const MOST_TOP = 20;

/** A token and its log-probability under the model: log-softmax of the raw logits. */
export interface ScoredToken {
  /** Token. */
  readonly id: number;
  /** Natural logarithm; undefined for the first token of a prompt. */
  readonly logProbability: number | undefined;
  /**
   * The most likely tokens at this place, likeliest first, of equals the lower id first; the token
   * itself is there only if it is one of them, and then with the very same number.
   */
  readonly top: readonly { readonly id: number; readonly logProbability: number }[];
}

/** Why a choice ended: a stop token, maxTokens or the context reached, or the caller's wish. */
export type EndReason = "stop" | "length" | "cancelled";

/** What happens to a request, in order; "done" comes last, once. */
export type TextEvent =
  /** It has its rows: how many tokens of its prompt came from the prefix cache. */
  | { readonly kind: "start"; readonly cachedTokens: number }
  /** The prompt from `scoreFrom` on, when it was to be scored. */
  | { readonly kind: "prompt"; readonly tokens: readonly ScoredToken[] }
  | ({ readonly kind: "token"; readonly choice: number } & ScoredToken)
  | { readonly kind: "end"; readonly choice: number; readonly reason: EndReason }
  | { readonly kind: "done" };

/**
 * Log-probabilities as OpenAI's objects have them.
 *
 * @module
 */
import type { ScoredToken } from "../../src/infer/request.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import type { ChatLogprobs } from "../schemas/chat.ts";
import type { CompletionLogprobs } from "../schemas/completions.ts";
import { type PlacedToken, promptText } from "./choice_text.ts";

/** How to name tokens, and whether a prompt's come first. */
export interface CompletionLogprobsOptions {
  /** "token_id:123" in place of texts. @default false */
  readonly asIds?: boolean;
  /** Added to each offset. @default 0 */
  readonly base?: number;
}

/** Stands for minus infinity, which JSON does not have. */
const LOWEST = -9999;

/** Four arrays of one length. A token is in its own `top_logprobs`, with the very same number. */
export function completionLogprobs(
  tokenizer: Tokenizer,
  tokens: readonly PlacedToken[],
  { asIds = false, base = 0 }: CompletionLogprobsOptions = {},
): CompletionLogprobs {
  const name = (id: number) => asIds ? `token_id:${id}` : tokenText(tokenizer, id);
  return {
    tokens: tokens.map(({ id }) => name(id)),
    token_logprobs: tokens.map(({ logProbability }) => logprob(logProbability)),
    top_logprobs: tokens.map((token) => topLogprobs(token, name)),
    text_offset: tokens.map(({ offset }) => base + offset),
  };
}

/** A prompt's tokens with their places, so that they can come before those of a text. */
export function placePrompt(tokenizer: Tokenizer, scored: readonly ScoredToken[]): PlacedToken[] {
  const { offsets } = promptText(tokenizer, scored.map(({ id }) => id));
  return scored.map((token, i) => ({ ...token, offset: offsets[i]! }));
}

/** One array after the other. */
export function joinLogprobs(a: CompletionLogprobs, b: CompletionLogprobs): CompletionLogprobs {
  return {
    tokens: [...a.tokens, ...b.tokens],
    token_logprobs: [...a.token_logprobs, ...b.token_logprobs],
    top_logprobs: [...a.top_logprobs, ...b.top_logprobs],
    text_offset: [...a.text_offset, ...b.text_offset],
  };
}

/** A chat's log-probabilities: a list of tokens, each with its bytes. */
export function chatLogprobs(tokenizer: Tokenizer, tokens: readonly ScoredToken[]): ChatLogprobs {
  const shown = (id: number, logProbability: number | undefined) => ({
    token: tokenText(tokenizer, id),
    logprob: logprob(logProbability) ?? LOWEST,
    bytes: Array.from(tokenizer.tokenBytes(id)),
  });
  return {
    content: tokens.map(({ id, logProbability, top }) => ({
      ...shown(id, logProbability),
      top_logprobs: top.map((other) => shown(other.id, other.logProbability)),
    })),
    refusal: null,
  };
}

/** What a token stands for; U+FFFD where its bytes are a part of a character. */
export function tokenText(tokenizer: Tokenizer, id: number): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(tokenizer.tokenBytes(id));
}

function topLogprobs(
  { id, logProbability, top }: ScoredToken,
  name: (id: number) => string,
): Record<string, number> | null {
  if (logProbability === undefined) return null;
  const highest = new Map<string, number>();
  for (const other of [...top, { id, logProbability }]) {
    const value = Math.max(other.logProbability, LOWEST);
    const key = name(other.id);
    // Parts of characters may look the same; the likeliest of them is shown.
    highest.set(key, Math.max(value, highest.get(key) ?? value));
  }
  return Object.fromEntries(highest);
}

function logprob(value: number | undefined): number | null {
  return value === undefined ? null : Math.max(value, LOWEST);
}

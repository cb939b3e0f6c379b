/**
 * Text from text: a tokenizer and stop strings around a source of tokens.
 *
 * @module
 */
import { END_OF_TEXT } from "../tokenizer/special.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { FinishReason, GenerateOptions, TokenGenerator } from "./generator.ts";
import { StopScanner } from "./stop.ts";

/** How to write on. */
export interface TextOptions extends Omit<GenerateOptions, "stopIds"> {
  /** Texts that end it; they are not part of it. @default none */
  stop?: readonly string[];
}

/** Where tokens come from: a {@linkcode TokenGenerator}, or what acts as one. */
export type TokenSource = Pick<TokenGenerator, "generate">;

/** What {@linkcode generateText} yields; the end comes last, once. */
export type TextEvent =
  | { readonly kind: "text"; readonly text: string }
  | {
    readonly kind: "end";
    readonly reason: FinishReason;
    /** Whether it was the context's end, not maxTokens or a stop. */
    readonly atContextEnd: boolean;
    /** Chosen tokens, those of a stop string included. */
    readonly tokens: number;
    /** Until the first token: compilation and the prompt. */
    readonly firstMs: number;
    /** From the first token to the last. */
    readonly restMs: number;
  };

/**
 * Writes on from a prompt. Text comes as soon as it is certain: whole characters, and nothing that
 * may be the beginning of a stop string. The token <|endoftext|> ends it.
 *
 * @param prompt ids, see {@linkcode startIds} for none
 * @throws {RangeError} As {@linkcode TokenGenerator.generate}, and when a stop string is empty.
 */
export async function* generateText(
  source: TokenSource,
  tokenizer: Tokenizer,
  prompt: readonly number[],
  options: TextOptions = {},
): AsyncGenerator<TextEvent, void> {
  const { stop = [], ...rest } = options;
  const scanner = new StopScanner(stop);
  const decoder = tokenizer.streamDecoder({ skipSpecial: true });
  const endOfText = tokenizer.specialTokens.get(END_OF_TEXT);
  const stopIds = new Set(endOfText === undefined ? [] : [endOfText]);
  const startMs = performance.now();
  let firstMs: number | undefined;
  let tokens = 0;
  for await (const event of source.generate(prompt, { ...rest, stopIds })) {
    const nowMs = performance.now() - startMs;
    firstMs ??= nowMs;
    let text: string;
    if (event.kind === "token") {
      tokens++;
      text = scanner.push(decoder.push(event.id));
    } else text = scanner.push(decoder.end());
    const stopped = scanner.found !== undefined;
    if (event.kind === "end" && !stopped) text += scanner.end();
    if (text !== "") yield { kind: "text", text };
    const usage = { tokens, firstMs, restMs: nowMs - firstMs };
    if (stopped) return yield { kind: "end", reason: "stop", atContextEnd: false, ...usage };
    if (event.kind === "end") yield { ...event, ...usage };
  }
}

/** All that {@linkcode generateText} yields, in one. */
export async function sampleText(
  source: TokenSource,
  tokenizer: Tokenizer,
  prompt: readonly number[],
  options: TextOptions = {},
): Promise<string> {
  let all = "";
  for await (const event of generateText(source, tokenizer, prompt, options)) {
    if (event.kind === "text") all += event.text;
  }
  return all;
}

/** A prompt where there is none: the start of a line, or of a text, as the tokenizer knows. */
export function startIds(tokenizer: Tokenizer): number[] {
  try {
    const ids = tokenizer.encode("\n");
    if (ids.length > 0) return ids;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // no such character
  }
  return [tokenizer.specialTokens.get(END_OF_TEXT) ?? 0];
}

/**
 * The text of one choice from its tokens: whole characters, up to a stop string or a banned place,
 * and with each piece the tokens that it shows.
 *
 * @module
 */
import type { ContentGuard, GuardScanner } from "../../src/infer/guard.ts";
import type { ScoredToken } from "../../src/infer/request.ts";
import { StopScanner } from "../../src/infer/stop.ts";
import type { StreamDecoder } from "../../src/tokenizer/stream.ts";
import type { Tokenizer } from "../../src/tokenizer/tokenizer.ts";

/** A token, and where its text begins. */
export interface PlacedToken extends ScoredToken {
  /** Code points of the text before it. */
  readonly offset: number;
}

/** Text that is certain, and the tokens that it ends the last of. */
export interface Piece {
  /** Whole characters. */
  readonly text: string;
  /** Each token once, in order; one without text comes with what is before it. */
  readonly tokens: readonly PlacedToken[];
}

/** How a text is made of tokens. */
export interface ChoiceTextOptions {
  /** Of the model. */
  readonly tokenizer: Tokenizer;
  /** Ids of the prompt: the text goes on where theirs ends, maybe within a character. */
  readonly prompt: readonly number[];
  /** Texts that end it. */
  readonly stops: readonly string[];
  /** What it may not show. */
  readonly guard: ContentGuard;
  /** Whether the names of special tokens are left out. */
  readonly skipSpecial: boolean;
}

/** Enough of a prompt's end to know the character that it is in: one has 4 bytes, a token 1. */
const SEAM_TOKENS = 8;

/** The text of one choice. */
export class ChoiceText {
  readonly #decoder: StreamDecoder;
  readonly #skipped: ReadonlySet<number>;
  readonly #stops: StopScanner;
  readonly #guard: GuardScanner;
  readonly #pending: { token: PlacedToken; endUnits: number }[] = [];
  readonly #tokens: PlacedToken[] = [];
  #decodedUnits = 0;
  #decodedPoints = 0;
  #text = "";

  /** At its beginning. */
  constructor({ tokenizer, prompt, stops, guard, skipSpecial }: ChoiceTextOptions) {
    this.#decoder = tokenizer.streamDecoder();
    this.#decoder.push(...prompt.slice(-SEAM_TOKENS));
    this.#skipped = new Set(skipSpecial ? tokenizer.specialTokens.values() : []);
    this.#stops = new StopScanner(stops);
    this.#guard = guard.scanner();
  }

  /** Why the text itself says that it ends here, if it does; later tokens do not count. */
  get finish(): "stop" | "content_filter" | undefined {
    if (this.#guard.found) return "content_filter";
    return this.#stops.found === undefined ? undefined : "stop";
  }

  /** All that was let out. */
  get text(): string {
    return this.#text;
  }

  /** All tokens that count, those of a stop string and a last end of text included. */
  get tokens(): readonly PlacedToken[] {
    return this.#tokens;
  }

  /** What one token more makes certain. */
  push(token: ScoredToken): Piece {
    const decoded = this.#skipped.has(token.id) ? "" : this.#decoder.push(token.id);
    const placed = { ...token, offset: this.#decodedPoints };
    this.#decodedUnits += decoded.length;
    this.#decodedPoints += countPoints(decoded);
    this.#tokens.push(placed);
    this.#pending.push({ token: placed, endUnits: this.#decodedUnits });
    const text = this.#guard.push(this.#stops.push(decoded));
    return this.#release(this.finish === undefined ? text : text + this.#guard.end());
  }

  /** The rest: no token comes any more. */
  end(): Piece {
    const decoded = this.#stops.push(this.#decoder.end());
    const text = this.#guard.push(decoded + this.#stops.end()) + this.#guard.end();
    return this.#release(text, true);
  }

  /** The tokens that this text completes; at an end all, unless they would show what is banned. */
  #release(text: string, ended = this.finish !== undefined): Piece {
    this.#text += text;
    const all = ended && this.finish !== "content_filter";
    const next = all ? -1 : this.#pending.findIndex(({ endUnits }) => endUnits > this.#text.length);
    const released = this.#pending.splice(0, next === -1 ? this.#pending.length : next);
    return { text, tokens: released.map(({ token }) => token) };
  }
}

/** A prompt as the model read it: its text, special tokens named, and where each token begins. */
export function promptText(
  tokenizer: Tokenizer,
  prompt: readonly number[],
): { text: string; offsets: readonly number[] } {
  const decoder = tokenizer.streamDecoder();
  const offsets: number[] = [];
  let text = "";
  let points = 0;
  for (const id of prompt) {
    offsets.push(points);
    const piece = decoder.push(id);
    text += piece;
    points += countPoints(piece);
  }
  return { text, offsets };
}

/**
 * Unicode code points of a text, which Python's `len` counts and JavaScript's `length` does not.
 *
 * @example
 * ```ts
 * import { countPoints } from "./choice_text.ts";
 * console.assert(countPoints("a🦕") === 2 && "a🦕".length === 3);
 * ```
 */
export function countPoints(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}

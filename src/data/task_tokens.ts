/**
 * Texts of an example as the token sequences of GPT-1: start, segments with delimiters between
 * them, extract.
 *
 * @module
 */
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { TaskKind } from "./task_kind.ts";
import type { Example } from "./tasks.ts";

/** The tokens around segments, in the order of their ids where a model has to grow by them. */
export const TASK_TOKENS = ["<|start|>", "<|delim|>", "<|extract|>"] as const;

/** An example in tokens. */
export interface EncodedExample {
  /** One sequence a copy: both orders of a pair, each choice, else one. */
  readonly copies: readonly Uint32Array[];
  /** (K) shares of the classes; undefined without a label. */
  readonly target: Float32Array | undefined;
  /** Of the longest copy. */
  readonly length: number;
  /** Whether a segment was cut. */
  readonly truncated: boolean;
}

/**
 * Encodes an example: `<|start|> a <|extract|>`, or `<|start|> a <|delim|> b <|extract|>` for each
 * pair of segments that a copy has. Names of special tokens in the texts are texts.
 *
 * @param contextLength The most tokens of a copy; what is too long loses the ends of its longest
 * segments, but none whole.
 * @throws {RangeError} When the tokenizer lacks a token, or nothing of a segment would be left.
 */
export function encodeExample(
  { segments }: Pick<Example, "segments">,
  target: Float32Array | undefined,
  options: { task: TaskKind; tokenizer: Tokenizer; contextLength: number },
): EncodedExample {
  const { task, tokenizer, contextLength } = options;
  const [start, delimiter, extract] = taskTokens(tokenizer);
  const ids = segments.map((text) => tokenizer.encode(text, { allowSpecial: false }));
  const [first, second] = ids as [number[], number[]];
  const orders = task === "similarity"
    ? [[first, second], [second, first]]
    : task === "choice"
    ? ids.slice(1).map((choice) => [first, choice])
    : [ids];
  let truncated = false;
  const copies = orders.map((parts) => {
    const kept = cutToFit(parts.map(({ length }) => length), contextLength - parts.length - 1);
    const tokens = [start];
    parts.forEach((part, i) => {
      if (i > 0) tokens.push(delimiter);
      if (kept[i]! < part.length) truncated = true;
      for (let t = 0; t < kept[i]!; t++) tokens.push(part[t]!);
    });
    tokens.push(extract);
    return Uint32Array.from(tokens);
  });
  const length = Math.max(...copies.map((copy) => copy.length));
  return { copies, target, length, truncated };
}

/**
 * Encodes one text whole, for the task of one text: where it is too long in parts that each begin
 * in the middle of the one before, so that whatever is in it is seen with what is around it.
 *
 * @param contextLength The most tokens of a part.
 * @throws {RangeError} When the tokenizer lacks a token, or a part has not room for two.
 */
export function encodeWindows(
  text: string,
  { tokenizer, contextLength }: { tokenizer: Tokenizer; contextLength: number },
): EncodedExample[] {
  const [start, , extract] = taskTokens(tokenizer);
  const ids = tokenizer.encode(text, { allowSpecial: false });
  const room = contextLength - 2;
  if (room < 2) {
    throw new RangeError(
      "Cannot encode a text in parts: room for 4 tokens or more: " +
        `there is room for ${contextLength}`,
    );
  }
  const windows: EncodedExample[] = [];
  const step = Math.floor(room / 2);
  for (let from = 0;; from += step) {
    const copy = Uint32Array.from([start, ...ids.slice(from, from + room), extract]);
    windows.push({ copies: [copy], target: undefined, length: copy.length, truncated: false });
    if (from + room >= ids.length) return windows;
  }
}

/** Ids of {@linkcode TASK_TOKENS}. @throws {RangeError} When there is none of one */
function taskTokens(tokenizer: Tokenizer): [start: number, delimiter: number, extract: number] {
  return TASK_TOKENS.map((name) => {
    const id = tokenizer.specialTokens.get(name);
    if (id !== undefined) return id;
    throw new RangeError(`Cannot encode an example: a tokenizer with ${name}: it has none`);
  }) as [number, number, number];
}

/**
 * Lengths that together are at most `room`: the longest give way first, down to one another.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals(cutToFit([3, 10], 20), [3, 10]);
 * assertEquals(cutToFit([3, 10], 8), [3, 5]);
 * assertEquals(cutToFit([9, 10], 8), [4, 4]);
 * ```
 *
 * @throws {RangeError} When there is not room for a token of each.
 */
export function cutToFit(lengths: readonly number[], room: number): number[] {
  if (room < lengths.length) {
    throw new RangeError(
      `Cannot cut ${lengths.length} segments: room for a token of each: there is room for ${room}`,
    );
  }
  const kept = [...lengths];
  let left = room;
  // From the shortest on, each may have an equal share of what is left.
  const order = lengths.map((_, i) => i).sort((a, b) => lengths[a]! - lengths[b]!);
  order.forEach((i, done) => {
    kept[i] = Math.min(lengths[i]!, Math.floor(left / (order.length - done)));
    left -= kept[i]!;
  });
  return kept;
}

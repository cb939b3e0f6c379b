/**
 * Special tokens: found anywhere in a text, before anything else looks at it.
 *
 * @module
 */

import type { EncodeOptions } from "./tokenizer.ts";

/** What ends a document, in all of GPT-2's family. */
export const END_OF_TEXT = "<|endoftext|>";

/**
 * The special tokens that every tokenizer trained here reserves, so that no later stage resizes the
 * model: end of text and padding, GPT-1's start, delimiter and extract, and the roles of a chat.
 */
export const RESERVED_TOKENS: readonly string[] = [
  END_OF_TEXT,
  "<|pad|>",
  "<|start|>",
  "<|delim|>",
  "<|extract|>",
  "<|user|>",
  "<|assistant|>",
  "<|end|>",
];

/** A stretch of plain text, or the id of a special token. */
export type Stretch = string | number;

/** A set of special tokens that cuts texts at their names: leftmost first, then the longest. */
export class SpecialTokens {
  /** Id of each name. */
  readonly ids: ReadonlyMap<string, number>;
  /** Name of each id. */
  readonly names: ReadonlyMap<number, string>;
  readonly #pattern: RegExp | undefined;

  /** From names and their ids. @throws {RangeError} when a name is empty */
  constructor(ids: Iterable<readonly [name: string, id: number]>) {
    this.ids = new Map(ids);
    this.names = new Map([...this.ids].map(([name, id]) => [id, name]));
    if (this.ids.has("")) {
      throw new RangeError(`Cannot make a special token: its name must have a character: got ""`);
    }
    this.#pattern = pattern(this.ids.keys());
  }

  /** The stretches of a text in order; empty ones are left out. */
  *split(text: string, { allowSpecial = true }: EncodeOptions = {}): Generator<Stretch> {
    const found = this.#find(allowSpecial);
    let start = 0;
    for (const match of found ? text.matchAll(found) : []) {
      if (match.index > start) yield text.slice(start, match.index);
      yield this.ids.get(match[0])!;
      start = match.index + match[0].length;
    }
    if (start < text.length) yield start === 0 ? text : text.slice(start);
  }

  #find(allowed: boolean | ReadonlySet<string>): RegExp | undefined {
    if (allowed === true) return this.#pattern;
    if (allowed === false) return undefined;
    return pattern([...this.ids.keys()].filter((name) => allowed.has(name)));
  }
}

/** Matches any of the names; alternatives are tried in order, so the longest comes first. */
function pattern(names: Iterable<string>): RegExp | undefined {
  const sorted = [...names].sort((a, b) => b.length - a.length);
  if (sorted.length === 0) return undefined;
  return new RegExp(sorted.map((name) => RegExp.escape(name)).join("|"), "gu");
}

/**
 * The special tokens that `names` adds to a vocabulary, with the ids after its last.
 *
 * @param has whether a name is an ordinary token of the vocabulary
 */
export function grow(
  special: SpecialTokens,
  vocabSize: number,
  names: Iterable<string>,
  has: (name: string) => boolean,
): [name: string, id: number][] {
  const added: [string, number][] = [];
  for (const name of new Set(names)) {
    if (special.ids.has(name)) continue;
    if (name === "" || has(name)) {
      throw new RangeError(
        `Cannot add the special token "${name}": its name must be new and not empty: ` +
          (name === "" ? "it is empty" : "the vocabulary has it as an ordinary token"),
      );
    }
    added.push([name, vocabSize + added.length]);
  }
  return added;
}

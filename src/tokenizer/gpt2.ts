/**
 * GPT-2's own tokenizer: 50,257 tokens, `<|endoftext|>` the last.
 *
 * The vocabulary comes from the package gpt-tokenizer (`r50k_base`, the tokens in the order of
 * their ranks). Which two tokens each one was merged from is not written there, but follows: it is
 * what is left of its bytes after all merges of lower rank.
 *
 * @module
 */

import { ByteLevelTokenizer, tokenOfBytes } from "./byte_level.ts";
import { type Merge, MergeTable } from "./merge.ts";
import { END_OF_TEXT } from "./special.ts";

const BYTE_TOKENS = 256;

/**
 * Makes the tokenizer of GPT-2, with any further special tokens after its 50,257.
 *
 * The vocabulary (0.6 MB) is loaded at the first call only.
 */
export async function gpt2Tokenizer(special: Iterable<string> = []): Promise<ByteLevelTokenizer> {
  const { default: ranks } = await import("gpt-tokenizer/bpeRanks/r50k_base");
  const tokenizer = gpt2 ??= fromRanks(ranks);
  const names = [...special];
  return names.length === 0 ? tokenizer : tokenizer.withSpecialTokens(names);
}

let gpt2: ByteLevelTokenizer | undefined;

function fromRanks(ranks: readonly (string | readonly number[])[]): ByteLevelTokenizer {
  const utf8 = new TextEncoder();
  const spelled = ranks.map((rank) => typeof rank === "string" ? utf8.encode(rank) : rank);
  const idOfByte: number[] = [];
  for (const [id, [byte]] of spelled.slice(0, BYTE_TOKENS).entries()) idOfByte[byte!] = id;

  const merges: Merge[] = [];
  const table = new MergeTable(ranks.length);
  for (let id = BYTE_TOKENS; id < ranks.length; id++) {
    const parts = table.apply(Array.from(spelled[id]!, (byte) => idOfByte[byte]!));
    if (parts.length !== 2) {
      throw new Error(`Cannot find the merge of token ${id}: it must have two parts: ${parts}`);
    }
    const merge: Merge = [parts[0]!, parts[1]!, id];
    table.add(merge);
    merges.push(merge);
  }
  return new ByteLevelTokenizer({
    tokens: [...spelled.map(tokenOfBytes), END_OF_TEXT],
    merges,
    special: [[END_OF_TEXT, ranks.length]],
  });
}

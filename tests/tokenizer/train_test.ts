import { assert, assertEquals, assertThrows } from "@std/assert";
import { RESERVED_TOKENS } from "../../src/tokenizer/special.ts";
import { trainBpe, trainBpeFromCounts, WordCounts } from "../../src/tokenizer/train.ts";
import type { ByteLevelTokenizer } from "../../src/tokenizer/byte_level.ts";
import golden from "../golden/tokenizers.json" with { type: "json" };
import { assertGoldenIds, sha256 } from "./golden.ts";
import { mixedText } from "./mixed_text.ts";

const text = mixedText();

function assertMerges(tokenizer: ByteLevelTokenizer, want: { count: number; sha256: string }) {
  const { tokens, merges } = tokenizer;
  const lines = merges.map(([left, right]) => `${tokens[left]} ${tokens[right]}`);
  assertEquals({ count: lines.length, sha256: sha256(lines.join("\n")) }, want);
}

Deno.test("trainBpe() finds the merges of tokenizers, and its ids are the same", () => {
  const tokenizer = trainBpe([text], { vocabSize: 1024 });
  assertMerges(tokenizer, golden.trained_merges);
  assertEquals([...tokenizer.specialTokens.keys()], RESERVED_TOKENS);
  assertEquals([...tokenizer.specialTokens.values()], [0, 1, 2, 3, 4, 5, 6, 7]);
  const ids = tokenizer.encode(text);
  assertGoldenIds(ids, golden.ids.trained);
  assertEquals(tokenizer.decode(ids), text);
});

Deno.test("trainBpe() stops at minFrequency where tokenizers does", () => {
  const tokenizer = trainBpe([text], { vocabSize: 20_000, minFrequency: 5 });
  assertMerges(tokenizer, golden.trained_frequent_merges);
  assertGoldenIds(tokenizer.encode(text), golden.ids.trained_frequent);
});

Deno.test("trainBpe() takes the most frequent pair, and of equals the one with smaller ids", () => {
  const merges = (texts: string[], vocabSize: number) => {
    const tokenizer = trainBpe(texts, { vocabSize, special: [] });
    return tokenizer.tokens.slice(256);
  };
  assertEquals(merges(["abab cd"], 257), ["ab"], "twice, all others once");
  assertEquals(merges(["zy xw vu"], 258), ["vu", "xw"], "each once: the smaller left byte first");
  assertEquals(merges(["aaaa"], 300), ["aa", "aaaa"], "pairs that overlap");
  assertEquals(merges(["low low lower"], 259), ["lo", "low", "Ġlow"]);
  assertEquals(merges([""], 300), [], "nothing to merge");
});

Deno.test("trainBpe() does not learn from special tokens, and learns the same in parts", () => {
  const special = ["<|user|>"];
  const cut = trainBpe(["one two<|user|>one two"], { vocabSize: 300, special });
  assert(!cut.tokens.some((token) => token.includes("use") && token !== "<|user|>"));
  const counts = new WordCounts(special);
  for (const part of ["one", " two<|user|>one", " two"]) counts.add(part);
  assertEquals(trainBpeFromCounts(counts, { vocabSize: 300, special }).sha256, cut.sha256);
});

Deno.test("trainBpe() refuses what cannot be", () => {
  assertThrows(
    () => trainBpe(["a"], { vocabSize: 263 }),
    RangeError,
    '"vocabSize" must be an integer in [264, 4194304], as 256 bytes and 8 special tokens come ' +
      "first: got 263",
  );
  assertThrows(() => trainBpe(["a"], { vocabSize: 300, minFrequency: 0 }), RangeError, "got 0");
  for (const special of [["a"], ["<|x|>", "<|x|>"], [""]]) {
    assertThrows(() => trainBpe(["a"], { vocabSize: 300, special }), RangeError);
  }
});

Deno.test("tokens that begin with a byte order mark are found", () => {
  const tokenizer = trainBpe(["\ufeff! \ufeff! \ufeff! x"], { vocabSize: 262, special: [] });
  const ids = tokenizer.encode("\ufeff!!");
  assertEquals(ids.map((id) => tokenizer.decode([id])), ["\ufeff!", "!"]);
});

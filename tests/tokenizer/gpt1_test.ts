import { assertEquals, assertThrows } from "@std/assert";
import { splitBertWords } from "../../src/tokenizer/bert_words.ts";
import { Gpt1Tokenizer, gpt1Tokenizer } from "../../src/tokenizer/gpt1.ts";

// The real vocabulary is no part of this repository: tests/system/tokenizer_test.ts is for that.
const tokens = "<unk> a b c a</w> b</w> c</w> ab ab</w> .</w>".split(" ");
const tokenizer = gpt1Tokenizer({
  encoder: JSON.stringify(Object.fromEntries(tokens.map((token, id) => [token, id]))),
  merges: "#version: 0.2\na b\na b</w>\n",
});

Deno.test("splitBertWords() cuts as BERT's basic tokenizer", () => {
  const known: [string, string[]][] = [
    ["  Héllo\tWORLD!?\n", ["hello", "world", "!", "?"]],
    ["don't_stop", ["don", "'", "t", "_", "stop"]],
    ["日本go", ["日", "本", "go"]],
    ["a\u0000b\u200bc\ufffd\u0007", ["abc"]],
    ["\u00a0x\u3000y\u2028z", ["x", "y", "z"]],
    ["\u0130I\u0307", ["ii"]],
    ["", []],
  ];
  for (const [text, words] of known) assertEquals(splitBertWords(text), words);
});

Deno.test("GPT-1's kind encodes words whose last symbol is marked", () => {
  assertEquals(tokenizer.encode("ab aB. abc x"), [8, 8, 9, 7, 6, 0]);
  assertEquals(tokenizer.decode([8, 8, 9, 7, 6, 0]), "ab ab . abc <unk>");
  assertEquals(tokenizer.decode([8, 9]), "ab .", "no space at the end");
  assertEquals(tokenizer.decodeBytes([8, 9]), new TextEncoder().encode("ab ."));
  assertEquals(tokenizer.decode([]), "");
  assertEquals(tokenizer.encode("a<unk>b"), [4, 0, 5]);
  assertEquals(tokenizer.encode("<unk>", { allowSpecial: false }), [0, 0, 0, 0, 0]);
});

Deno.test("GPT-1's kind grows, and streams without the last space", () => {
  const grown = tokenizer.withSpecialTokens(["<|End|>"]);
  const ids = grown.encode("ab<|End|>a b");
  assertEquals(ids, [8, 10, 4, 5]);
  const decoder = grown.streamDecoder();
  assertEquals(ids.map((id) => decoder.push(id)), ["ab", " <|End|>", "a", " b"]);
  assertEquals(decoder.end(), "");
  assertEquals(grown.decode(ids), "ab <|End|>a b");
  assertEquals(grown.decode(ids, { skipSpecial: true }), "ab a b");
  assertThrows(() => new Gpt1Tokenizer({ tokens: ["a"], merges: [], special: [] }), RangeError);
});

import { assertEquals, assertThrows } from "@std/assert";
import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";
import { RESERVED_TOKENS } from "../../src/tokenizer/special.ts";
import golden from "../golden/tokenizers.json" with { type: "json" };
import { assertGoldenIds } from "./golden.ts";
import { mixedText } from "./mixed_text.ts";

const text = mixedText();

Deno.test("characters are numbered in the order of their code points", () => {
  const tokenizer = CharacterTokenizer.fromText([text]);
  assertEquals(tokenizer.specialTokens.size, 0);
  const ids = tokenizer.encode(text);
  assertGoldenIds(ids, golden.ids.characters);
  assertEquals(tokenizer.decode(ids), text);
  // U+FFFF is before U+10000, though its UTF-16 is after.
  const few = CharacterTokenizer.fromText(["\u{10000}\uffff", "a"]);
  assertEquals(few.encode("a\uffff\u{10000}"), [0, 1, 2]);
});

Deno.test("special tokens follow the characters", () => {
  const tokenizer = CharacterTokenizer.fromText([text], RESERVED_TOKENS);
  const ids = tokenizer.encode(text);
  assertGoldenIds(ids, golden.ids.characters_grown);
  assertEquals(tokenizer.decode(ids), text);
  const plain = tokenizer.encode("<|end|>", { allowSpecial: false });
  assertEquals(plain.length, 7);
  assertEquals(tokenizer.decode(plain), "<|end|>");
});

Deno.test("a stream of characters", () => {
  const tokenizer = CharacterTokenizer.fromText(["añ\u{1f600}"]);
  const decoder = tokenizer.streamDecoder();
  assertEquals([decoder.push(2, 1), decoder.push(0), decoder.end()], ["\u{1f600}ñ", "a", ""]);
  assertEquals(tokenizer.tokenBytes(1), new TextEncoder().encode("ñ"));
  assertEquals(tokenizer.decodeBytes([1, 0]), new TextEncoder().encode("ña"));
});

Deno.test("what the vocabulary lacks cannot be encoded", () => {
  const tokenizer = CharacterTokenizer.fromText(["ab"]);
  assertThrows(
    () => tokenizer.encode("abba\u00e9b"),
    RangeError,
    'Cannot encode: every character must be in the vocabulary: "é" (U+00E9) at character 4 is not',
  );
  assertThrows(() => new CharacterTokenizer(["a", "a"]), RangeError, 'token 0 is "a"');
  assertThrows(() => new CharacterTokenizer(["a", "bc"]), RangeError, 'token 1 is "bc"');
  assertThrows(() => tokenizer.withSpecialTokens(["a"]), RangeError, "an ordinary token");
});

import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { PhiloxStream } from "../../src/random/philox.ts";
import { splitWords } from "../../src/tokenizer/byte_level.ts";
import { gpt2Tokenizer } from "../../src/tokenizer/gpt2.ts";
import { RESERVED_TOKENS } from "../../src/tokenizer/special.ts";
import golden from "../golden/tokenizers.json" with { type: "json" };
import { assertGoldenIds, sha256 } from "./golden.ts";
import { Draw, mixedText } from "./mixed_text.ts";
import spec from "./mixed_text.json" with { type: "json" };

const text = mixedText();

Deno.test("the mixed text is the one that the goldens were made with", () => {
  assertEquals(new TextEncoder().encode(text).length, golden.text.bytes);
  assertEquals(sha256(text), golden.text.sha256);
});

Deno.test("GPT-2's ids are those of transformers, special tokens anywhere in the text", async () => {
  const tokenizer = await gpt2Tokenizer();
  assertEquals([tokenizer.vocabSize, tokenizer.merges.length], [50_257, 50_000]);
  assertEquals([...tokenizer.specialTokens], [["<|endoftext|>", 50_256]]);
  const ids = tokenizer.encode(text);
  assertGoldenIds(ids, golden.ids.gpt2);
  assertEquals(tokenizer.decode(ids), text);
});

Deno.test("GPT-2 grown by the reserved tokens has the ids of tokenizers", async () => {
  const tokenizer = await gpt2Tokenizer(RESERVED_TOKENS);
  assertEquals(tokenizer.vocabSize, 50_264);
  assertEquals(tokenizer.specialTokens.get("<|endoftext|>"), 50_256);
  assertEquals(tokenizer.specialTokens.get("<|end|>"), 50_263);
  const ids = tokenizer.encode(text);
  assertGoldenIds(ids, golden.ids.gpt2_grown);
  assertEquals(tokenizer.decode(ids), text);
});

Deno.test("special tokens that are not allowed are plain text", async () => {
  const tokenizer = await gpt2Tokenizer(RESERVED_TOKENS);
  assertGoldenIds(tokenizer.encode(text, { allowSpecial: false }), golden.gpt2_plain);
  const some = "a<|user|>b<|end|>c";
  const ids = tokenizer.encode(some, { allowSpecial: new Set(["<|end|>", "<|other|>"]) });
  assertEquals(ids.filter((id) => id >= 50_256), [50_263]);
  assertEquals(tokenizer.decode(ids), some);
  assertEquals(tokenizer.decode(ids, { skipSpecial: true }), "a<|user|>bc");
  assertEquals(tokenizer.decode(tokenizer.encode(some), { skipSpecial: true }), "abc");
});

Deno.test("known ids of GPT-2", async () => {
  const tokenizer = await gpt2Tokenizer();
  const known: [string, number[]][] = [
    ["", []],
    ["Hello world", [15496, 995]],
    [" Hello world", [18435, 995]],
    ["<|endoftext|>", [50256]],
    ["a<|endoftext|>b", [64, 50256, 65]],
    ["<|endoftext|><|endoftext|>", [50256, 50256]],
    ["\u{1f600}", [47249, 222]],
  ];
  for (const [text, ids] of known) assertEquals(tokenizer.encode(text), ids, text);
});

Deno.test("words end where GPT-2's pattern says, also around U+0085 and U+FEFF", () => {
  const known: [string, string[]][] = [
    ["I'll  don't 'S", ["I", "'ll", " ", " don", "'t", " '", "S"]],
    ["a \n b\n\nc ", ["a", " \n", " b", "\n", "\n", "c", " "]],
    ["a\u0085\u0085b", ["a", "\u0085", "\u0085", "b"]],
    ["a \ufeffb", ["a", " \ufeff", "b"]],
    ["x1½٪٣", ["x", "1½", "٪", "٣"]],
  ];
  for (const [text, words] of known) assertEquals([...splitWords(text)], words);
});

Deno.test("any bytes come back from their ids", async () => {
  const tokenizer = await gpt2Tokenizer();
  const random = new PhiloxStream(7);
  for (let round = 0; round < 200; round++) {
    // Few distinct bytes in some rounds, so that broken and whole characters come next to each
    // other.
    const some = Array.from({ length: 1 + random.integer(12) }, () => random.integer(256));
    const bytes = Uint8Array.from({ length: random.integer(400) }, () => {
      return round % 2 === 0 ? random.integer(256) : some[random.integer(some.length)]!;
    });
    const ids = tokenizer.encodeBytes(bytes);
    assertEquals(tokenizer.decodeBytes(ids), bytes);
    const lossy = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    assertEquals(tokenizer.decode(ids), lossy);
  }
  const utf8 = new TextEncoder().encode(text.slice(0, 20_000));
  const plain = tokenizer.encode(text.slice(0, 20_000), { allowSpecial: false });
  assertEquals(tokenizer.encodeBytes(utf8), plain);
});

Deno.test("any text comes back from its ids", async () => {
  const tokenizer = await gpt2Tokenizer(RESERVED_TOKENS);
  const random = new PhiloxStream(8);
  for (let round = 0; round < 300; round++) {
    const units = Array.from({ length: random.integer(60) }, () => {
      const bound = [0x80, 0x800, 0x10000][random.integer(3)]!;
      return String.fromCharCode(random.integer(bound));
    });
    const any = units.join(""); // halves of surrogate pairs, too
    assertEquals(tokenizer.decode(tokenizer.encode(any)), any.toWellFormed());
  }
});

Deno.test("any ids decode to the text that tokenizers gives", async () => {
  const tokenizer = await gpt2Tokenizer();
  const draw = new Draw(spec.seed);
  const ids = Array.from({ length: 50_000 }, () => draw.below(50_257));
  assertEquals(sha256(tokenizer.decode(ids)), golden.any_ids_text);
  const joined = ids.flatMap((id) => [...tokenizer.tokenBytes(id)]);
  assertEquals(tokenizer.decodeBytes(ids), Uint8Array.from(joined));
});

Deno.test("a stream of ids gives the same text, and never cuts a character", async () => {
  const tokenizer = await gpt2Tokenizer();
  const decoder = tokenizer.streamDecoder();
  const part = text.slice(0, 60_000);
  const ids = tokenizer.encode(part);
  const pieces = ids.map((id) => decoder.push(id));
  pieces.push(decoder.end());
  assertEquals(pieces.join(""), part);
  assert(pieces.every((piece) => piece.isWellFormed()));
  assert(part.includes("\ufffd") && pieces.includes(""), "the text has what makes a decoder wait");

  const [first, second] = tokenizer.encode("\u{1f600}") as [number, number];
  assertEquals([decoder.push(first), decoder.push(second)], ["", "\u{1f600}"]);
  assertEquals([decoder.push(first), decoder.end()], ["", "\ufffd"]);
  assertEquals(decoder.push(15496), "Hello", "it starts anew");
  const bom = tokenizer.encode("\ufeffa\ufeff");
  assertEquals(tokenizer.streamDecoder().push(...bom), "\ufeffa\ufeff");
  const skipping = tokenizer.streamDecoder({ skipSpecial: true });
  assertEquals(skipping.push(first, 50256, second), "\u{1f600}");
});

Deno.test("a long run without spaces takes no quadratic time", async () => {
  const tokenizer = await gpt2Tokenizer();
  const run = "a\u00e9".repeat(150_000);
  assertEquals(tokenizer.decode(tokenizer.encode(run)), run);
});

Deno.test("the hash tells tokenizers apart", async () => {
  const [small, grown] = [await gpt2Tokenizer(), await gpt2Tokenizer(RESERVED_TOKENS)];
  assertEquals(small.sha256, golden.files.gpt2);
  assertEquals(grown.sha256, golden.files.gpt2_grown);
  assertNotEquals(small.sha256, grown.sha256);
  assertEquals(grown.withSpecialTokens(["<|user|>"]).sha256, grown.sha256);
});

Deno.test("unknown ids and impossible special tokens are refused", async () => {
  const tokenizer = await gpt2Tokenizer();
  for (const id of [-1, 50_257, 1.5, NaN]) {
    const message = `Cannot decode: an id must be an integer in [0, 50257): got ${id}`;
    assertThrows(() => tokenizer.decode([1, id]), RangeError, message);
    assertThrows(() => tokenizer.tokenBytes(id), RangeError, message);
    assertThrows(() => tokenizer.streamDecoder().push(id), RangeError, message);
  }
  assertThrows(() => tokenizer.withSpecialTokens([""]), RangeError, "it is empty");
  assertThrows(() => tokenizer.withSpecialTokens(["the"]), RangeError, "an ordinary token");
});

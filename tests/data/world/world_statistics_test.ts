import { assert, assertEquals } from "@std/assert";
import { worldStatistics, worldTokenizer } from "../../../src/data/world/statistics.ts";
import { worldOf } from "../../../src/data/world/world.ts";

Deno.test("the numbers of the world are those of its documents and items", () => {
  const world = worldOf(0);
  const tokenizer = worldTokenizer(world, 300, 512);
  const { count, tokens, words, vocabSize, families } = worldStatistics(world, tokenizer, 200);
  assertEquals([count, vocabSize], [200, 512]);
  const documents = [...world.documents("train", { count: 200 })];
  const lengths = documents.map(({ text }) => tokenizer.encode(text).length);
  assertEquals(tokens, lengths.reduce((sum, length) => sum + length, 0));
  assertEquals(families.reduce((sum, family) => sum + family.documents, 0), 200);
  assert(words > 200 && words < 600);
  const reading = families.find(({ family }) => family === "reading")!;
  assertEquals(reading.kinds, ["carried", "colour", "where", "who"]);
  const prompts = [...world.items("reading", "test", { count: 200 })].map(({ prompt }) => prompt);
  assertEquals(reading.prompts.test, new Set(prompts).size);
  const mean = prompts.length > 0 &&
    [...world.items("reading", "train", { count: 200 })].reduce(
      (sum, { prompt }) => sum + tokenizer.encode(prompt).length / 200,
      0,
    );
  assert(Math.abs(reading.promptTokens - Number(mean)) < 1e-9);
  // Each word of the world is a token or two.
  assert(tokens / documents.reduce((sum, { text }) => sum + text.split(/\s/).length, 0) < 2);
});

import { assertEquals, assertRejects } from "@std/assert";
import type { GenerateOptions } from "../../src/infer/generator.ts";
import { generateText, sampleText, startIds, type TokenSource } from "../../src/infer/text.ts";
import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";
import { END_OF_TEXT, RESERVED_TOKENS } from "../../src/tokenizer/special.ts";
import { trainBpeFromCounts, WordCounts } from "../../src/tokenizer/train.ts";

/** A token a byte, and the special ones. */
const tokenizer = trainBpeFromCounts(new WordCounts(RESERVED_TOKENS), { vocabSize: 264 });

/** A model that has learnt one text by heart. */
function reciting(ids: readonly number[], told: GenerateOptions[] = []): TokenSource {
  return {
    async *generate(_prompt, options = {}) {
      told.push(options);
      for (const id of ids) {
        await Promise.resolve();
        if (options.stopIds?.has(id)) {
          return yield { kind: "end", reason: "stop", atContextEnd: false };
        }
        yield { kind: "token", id, logProbability: 0 };
      }
      yield { kind: "end", reason: "length", atContextEnd: false };
    },
  };
}

async function pieces(text: string, stop: string[] = []) {
  const texts: string[] = [];
  let end: unknown;
  for await (
    const event of generateText(reciting(tokenizer.encode(text)), tokenizer, [0], { stop })
  ) {
    if (event.kind === "text") texts.push(event.text);
    else end = { reason: event.reason, tokens: event.tokens };
  }
  return { texts, end };
}

Deno.test("generateText() never cuts a character", async () => {
  const text = "né 日本 👩‍👩‍👧 end";
  const { texts, end } = await pieces(text);
  assertEquals(texts, [...text]);
  assertEquals(end, { reason: "length", tokens: new TextEncoder().encode(text).length });
});

Deno.test("generateText() says U+FFFD for a character that was never completed", async () => {
  const ids = tokenizer.encode("a👍").slice(0, 3);
  assertEquals(await sampleText(reciting(ids), tokenizer, [0]), "a\ufffd");
});

Deno.test("generateText() never prints a stop string, and counts the tokens up to it", async () => {
  assertEquals(await pieces("one\ntwo\n\nthree", ["\n\n"]), {
    texts: [..."one", "\nt", ..."wo"],
    end: { reason: "stop", tokens: 9 },
  });
  assertEquals(await pieces("a日x", ["日x"]), { texts: ["a"], end: { reason: "stop", tokens: 5 } });
  assertEquals(await pieces("a日y", ["日x"]), {
    texts: ["a", "日y"],
    end: { reason: "length", tokens: 5 },
  });
  assertEquals((await pieces("a日", ["日x"])).texts, ["a", "日"], "held back, then the end");
});

Deno.test("generateText() ends at <|endoftext|> and leaves special tokens out", async () => {
  const ids = tokenizer.encode(`one<|user|> two${END_OF_TEXT}three`);
  const told: GenerateOptions[] = [];
  const text = await sampleText(reciting(ids, told), tokenizer, [0], { seed: 5, maxTokens: 9 });
  assertEquals(text, "one two");
  const stopIds = new Set([tokenizer.specialTokens.get(END_OF_TEXT)!]);
  assertEquals(told, [{ seed: 5, maxTokens: 9, stopIds }]);
});

Deno.test("generateText() refuses an empty stop string", async () => {
  await assertRejects(() => sampleText(reciting([]), tokenizer, [0], { stop: [""] }), RangeError);
});

Deno.test("startIds() is a line's start, or what the tokenizer has", () => {
  assertEquals(startIds(tokenizer), tokenizer.encode("\n"));
  const characters = CharacterTokenizer.fromText(["ab"]);
  const [id] = startIds(characters);
  assertEquals(id, characters.specialTokens.get(END_OF_TEXT) ?? 0);
});

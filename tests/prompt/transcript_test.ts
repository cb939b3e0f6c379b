import { assertEquals } from "@std/assert";
import { encodeDialogue } from "../../src/prompt/dialogue.ts";
import { turnsOfPrompt } from "../../src/prompt/transcript.ts";
import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";
import { TOKENIZER } from "../support/serve.ts";

const turnsOf = (text: string) => turnsOfPrompt(TOKENIZER, TOKENIZER.encode(text));
const one = (content: string) => [{ role: "user", content }];

Deno.test("the ids of a chat become its turns again", () => {
  const messages = [
    { role: "user", content: "hello" },
    { role: "assistant", content: "world" },
    { role: "user", content: "other <|user|> world" }, // a name in a text is text
  ] as const;
  const { ids } = encodeDialogue(TOKENIZER, messages);
  const begin = TOKENIZER.specialTokens.get("<|assistant|>")!;
  assertEquals(turnsOfPrompt(TOKENIZER, [...ids, begin]), [...messages]);
});

Deno.test("all else is one turn of the user, without special tokens and space around", () => {
  assertEquals(turnsOf(" hello world "), one("hello world"));
  assertEquals(turnsOf("<|endoftext|>"), one(""));
  assertEquals(turnsOfPrompt(TOKENIZER, []), one(""));
  // Not a chat that the assistant goes on with.
  assertEquals(turnsOf("<|user|>a<|end|>"), one("a"));
  assertEquals(turnsOf("<|user|>a<|assistant|>"), one("a"));
  assertEquals(turnsOf("<|user|>a<|user|>b<|end|><|assistant|>"), one("ab"));
  assertEquals(turnsOf("<|assistant|>a<|end|><|assistant|>"), one("a"));
  assertEquals(turnsOf("<|assistant|>"), one(""));
});

Deno.test("a tokenizer without the tokens of dialogues has texts only", () => {
  const letters = CharacterTokenizer.fromText(["abc"]);
  assertEquals(turnsOfPrompt(letters, letters.encode("cab")), one("cab"));
});

import { assertEquals } from "@std/assert";
import { ContentGuard } from "../../src/infer/guard.ts";
import { END_OF_WORD, Gpt1Tokenizer, UNKNOWN } from "../../src/tokenizer/gpt1.ts";
import { ChoiceText, promptText } from "../../routes/text/choice_text.ts";
import { scored } from "../support/fake_runtime.ts";
import { byteIds, TOKENIZER } from "../support/serve.ts";

const LETTERS = [..."abc"];
const gpt1 = new Gpt1Tokenizer({
  tokens: [UNKNOWN, ...LETTERS, ...LETTERS.map((letter) => letter + END_OF_WORD)],
  merges: [],
  special: [[UNKNOWN, 0]],
});

Deno.test("GPT-1's words keep the space between prompt and text", () => {
  const prompt = gpt1.encode("ab");
  const options = { tokenizer: gpt1, prompt, stops: [], guard: new ContentGuard() };
  const text = new ChoiceText({ ...options, skipSpecial: true });
  const pieces = gpt1.encode("ca b").map((id) => text.push(scored(id, 0)).text);
  assertEquals(promptText(gpt1, prompt).text + pieces.join("") + text.end().text, "ab ca b");
  assertEquals(text.tokens.map(({ offset }) => offset), [0, 2, 3]);
});

Deno.test("the seam is right after a prompt of any length", () => {
  const parts = byteIds("🦕");
  for (const before of [0, 1, 5, 6, 7, 8, 9, 30]) {
    for (let inPrompt = 0; inPrompt <= parts.length; inPrompt++) {
      const prompt = [...byteIds("é".repeat(before)), ...parts.slice(0, inPrompt)];
      const text = new ChoiceText({
        tokenizer: TOKENIZER,
        prompt,
        stops: [],
        guard: new ContentGuard(),
        skipSpecial: true,
      });
      const pieces = [...parts.slice(inPrompt), ...byteIds("!")].map((id) => {
        return text.push(scored(id, 0)).text;
      });
      const whole = promptText(TOKENIZER, prompt).text + pieces.join("") + text.end().text;
      assertEquals(whole, `${"é".repeat(before)}🦕!`, `${before}, ${inPrompt}`);
    }
  }
});

Deno.test("each token comes once, with the piece that shows the last of it", () => {
  const text = new ChoiceText({
    tokenizer: TOKENIZER,
    prompt: [],
    stops: ["bcd"],
    guard: new ContentGuard(),
    skipSpecial: true,
  });
  const pieces = byteIds("abcxbcd").map((id) => text.push(scored(id, 0)));
  assertEquals(pieces.map((piece) => piece.text), ["a", "", "", "bcx", "", "", ""]);
  assertEquals(pieces.map(({ tokens }) => tokens.length), [1, 0, 0, 3, 0, 0, 3]);
  assertEquals([text.finish, text.text, text.tokens.length], ["stop", "abcx", 7]);
});

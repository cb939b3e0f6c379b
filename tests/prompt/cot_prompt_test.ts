import { assertEquals } from "@std/assert";
import {
  answerTrigger,
  continuedIds,
  fewShotPrompt,
  zeroShotPrompt,
} from "../../src/prompt/cot_prompt.ts";
import { byteIds, ids, TOKENIZER } from "../support/serve.ts";

Deno.test("zero-shot prompts are those of the source", () => {
  const question = "How many are 2 and 3?";
  assertEquals(
    zeroShotPrompt(question, "Let's think step by step."),
    "Q: How many are 2 and 3?\nA: Let's think step by step.",
  );
  const letters = ["A", "B", "C", "D", "E"];
  assertEquals(
    (["number", "choice", "yes_no", "text", "regex"] as const).map((type) =>
      answerTrigger(type, letters)
    ),
    [
      "Therefore, the answer (arabic numerals) is",
      "Therefore, among A through E, the answer is",
      "Therefore, the answer (Yes or No) is",
      "Therefore, the answer is",
      "Therefore, the answer is",
    ],
  );
});

Deno.test("choices that are no letters in a row are all named", () => {
  const trigger = (...choices: string[]) => answerTrigger("choice", choices);
  assertEquals(trigger("red", "blue"), "Therefore, among red or blue, the answer is");
  assertEquals(trigger("A", "C", "D"), "Therefore, among A, C or D, the answer is");
  assertEquals(trigger("A", "B"), "Therefore, among A or B, the answer is");
});

Deno.test("few-shot prompts show question, rationale and answer", () => {
  const exemplars = [
    { question: "1 + 1?", rationale: "One and one.", answer: "2" },
    { question: "2 + 2?", rationale: "", answer: "4" },
  ];
  assertEquals(
    fewShotPrompt(exemplars, "3 + 3?", "The answer is"),
    "Q: 1 + 1?\nA: One and one. The answer is 2.\n\n" +
      "Q: 2 + 2?\nA: The answer is 4.\n\n" +
      "Q: 3 + 3?\nA:",
  );
});

/** A written text from ids, with places as the server has them. */
function written(text: string, all: readonly number[]) {
  const decoder = TOKENIZER.streamDecoder();
  let offset = 0;
  const tokens = all.map((id) => {
    const token = { id, offset };
    if (id > 7) offset += [...decoder.push(id)].length;
    return token;
  });
  return { text, tokens };
}

Deno.test("a text goes on with its own tokens, whatever ended it", () => {
  const suffix = " so";
  for (
    const [text, all, kept] of [
      ["hello world", [...ids("hello"), ...byteIds(" world")], ids("hello").length + 5],
      ["hello", [...ids("hello"), 0], ids("hello").length], // an end of text
      ["hello", [...ids("hello"), ...byteIds("\n\nQ:")], ids("hello").length], // a stop string
      ["he", ids("hello"), 0], // within a token
      ["é", byteIds("éé"), 2],
      ["a\ufffd", byteIds("aé").slice(0, 2), 1], // a character without its end
      ["é", [...byteIds("é").slice(0, 1), ...byteIds("é").slice(1)], 0],
      ["", [0], 0],
      ["", [], 0],
      ["ab", [...byteIds("a"), 3, ...byteIds("b")], 1], // a special token that is not shown
    ] as const
  ) {
    const result = continuedIds(TOKENIZER, written(text, all), { suffix });
    assertEquals(TOKENIZER.decode(result), text + suffix, text);
    assertEquals(result.slice(0, kept), all.slice(0, kept), text);
  }
});

Deno.test("a text goes on from within", () => {
  const text = "so it is. The answer is 4.";
  const upTo = text.length - " 4.".length;
  const result = continuedIds(TOKENIZER, written(text, byteIds(text)), { upTo, suffix: "" });
  assertEquals(result, byteIds(text.slice(0, upTo)));
});

Deno.test("names of special tokens in what is added are text", () => {
  const result = continuedIds(TOKENIZER, written("a", byteIds("a")), { suffix: "<|end|>" });
  assertEquals(result.every((id) => id > 7), true);
});

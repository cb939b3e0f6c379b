import { assertEquals } from "@std/assert";
import {
  type AnswerReader,
  NUMBERS,
  patternReader,
  PLAIN_TEXT,
  readMarked,
  YES_OR_NO,
} from "../../src/prompt/cot_answer.ts";
import { AnswerPattern } from "../../src/prompt/cot_pattern.ts";

const LETTERS = patternReader(new AnswerPattern("A|B|C|D|E"));

interface Case {
  reader: AnswerReader;
  text: string;
  first: string | undefined;
  last: string | undefined;
}

function rows(reader: AnswerReader, table: readonly (readonly (string | undefined)[])[]): Case[] {
  return table.map(([text, first, last]) => ({ reader, text: text!, first, last }));
}

const CASES: readonly Case[] = [
  ...rows(NUMBERS, [
    [" 8.", "8", "8"],
    [" 1,234,567 dollars", "1234567", "1234567"],
    [" $3.50 each", "3.50", "3.50"],
    ["0.5 of them, 7.25 m", "0.5", "7.25"],
    ["It is 12 cm, 30% or 5kg", "12", "5"],
    ["3 apples and 4 pears make 7 fruits.", "3", "7"],
    ["-5 degrees, then -12.5", "-5", "-12.5"],
    ["10-5 is 5", "10", "5"],
    ["10-5", "10", "-5"],
    ["1, 2, 3", "1", "3"],
    ["1/2", "1", "2"],
    ["2.", "2", "2"],
    ["none at all", undefined, undefined],
    ["", undefined, undefined],
  ]),
  ...rows(LETTERS, [
    [" (C).", "C", "C"],
    [" B or D", "B", "D"],
    [" E) 5 km", "E", "E"],
    [" 7", undefined, undefined],
  ]),
  ...rows(YES_OR_NO, [
    [" Yes.", "yes", "yes"],
    [" NO, it is not", "no", "no"],
    ['"yes"\n', "yes", "yes"],
    ["yes: at first, then no", "yes", "no"],
    ["I know nothing of yesterday; no-one does", undefined, undefined],
  ]),
  ...rows(PLAIN_TEXT, [
    ['\n "nk".\nQ: next', "nk", undefined],
    [" heads", "heads", undefined],
    [" \n . \n", undefined, undefined],
  ]),
];

Deno.test("answers are found in texts", () => {
  for (const { reader, text, first, last } of CASES) {
    assertEquals([reader.first(text)?.text, reader.last(text)?.text], [first, last], text);
  }
});

Deno.test("numbers that mean the same have one key, others have two", () => {
  const keys = (texts: readonly string[]) => texts.map((text) => NUMBERS.first(text)?.key);
  assertEquals(keys(["6", "6.0", "6.", "06", "$6.00"]), Array(5).fill("6"));
  assertEquals(keys(["0", "-0", "0.0"]), ["0", "0", "0"]);
  assertEquals(keys(["0.50", "-7.250", "100"]), ["0.5", "-7.25", "100"]);
  assertEquals(keys(["12345678901234567890", "12345678901234567891"]), [
    "12345678901234567890",
    "12345678901234567891",
  ]);
});

Deno.test("the value is a number where one can hold it", () => {
  const value = (text: string) => NUMBERS.first(text)?.value;
  assertEquals([value("1,234.50"), value("-3"), value("12345678901234567890")], [
    1234.5,
    -3,
    "12345678901234567890",
  ]);
});

Deno.test("texts that differ in case and spaces vote alike", () => {
  const keys = ["New  York.", "new york", "NEW\u00a0YORK"].map((t) => PLAIN_TEXT.first(t)?.key);
  assertEquals(keys, ["new york", "new york", "new york"]);
});

Deno.test("a text with a marker answers after the last one", () => {
  const read = (text: string) => {
    const { answer, source } = readMarked(NUMBERS, text, "The answer is");
    return [answer?.text, source];
  };
  assertEquals(read("1 + 2 = 3. The answer is 3 of 9."), ["3", "marker"]);
  assertEquals(read("The answer is 4? No. The answer is 5."), ["5", "marker"]);
  assertEquals(read("1 + 2 = 3, so 3 it is"), ["3", "last_match"]);
  assertEquals(read("It is 7. The answer is unclear"), ["7", "last_match"]);
  assertEquals(read("Nobody knows"), [undefined, "none"]);
});

import { assertAlmostEquals, assertEquals } from "@std/assert";
import { bleuOfSums, bleuParts, tokenize13a } from "../../src/eval/bleu.ts";
import { firstSentences, TextMatch } from "../../src/eval/match.ts";
import { rouge } from "../../src/eval/rouge.ts";
import golden from "../golden/eval.json" with { type: "json" };

Deno.test("rouge() has the numbers of rouge-score", () => {
  for (const [written, reference, ...want] of golden.rouge as [string, string, ...number[]][]) {
    const { rouge1, rouge2, rougeL } = rouge(written, [reference]);
    for (const [kind, value] of [rouge1, rouge2, rougeL].entries()) {
      assertAlmostEquals(value, want[kind]!, 1e-12, `${written} | ${reference}`);
    }
  }
  const texts = golden.rouge.map(([text]) => String(text));
  const best = rouge(texts[0]!, texts);
  assertEquals([best.rouge1, best.rougeL], [1, 1]);
});

Deno.test("BLEU of a corpus has the numbers of sacrebleu", () => {
  for (const [written, references, want] of golden.bleu as [string[], string[][], number][]) {
    const parts = written.map((text, index) => bleuParts(text, references[index]!));
    const sums = parts[0]!.map((_, k) => parts.reduce((sum, part) => sum + part[k]!, 0));
    assertAlmostEquals(bleuOfSums(sums), want, 1e-9);
  }
  assertEquals(bleuOfSums(bleuParts("", ["a b c d"])), 0);
  assertAlmostEquals(bleuOfSums(bleuParts("a b c d e", ["a b c d e"])), 100, 1e-9);
});

Deno.test("words of BLEU are those of mteval-v13a", () => {
  for (const [line, want] of golden.tokens as [string, string][]) {
    assertEquals(tokenize13a(line).join(" "), want);
  }
});

Deno.test("texts match in the way that a task says", () => {
  const base = { as: "text", ignoreCase: false, ignorePunctuation: false } as const;
  const right = (options: object, text: string, ...references: string[]) => {
    const match = new TextMatch({ ...base, ...options });
    return match.isRight(match.answer(text), references);
  };
  const cases: [object, string, string, boolean][] = [
    [{}, " 143\n", " 143", true],
    [{}, "New  York", "New York", true],
    [{}, "new york", "New York", false],
    [{ ignoreCase: true }, "new york", "New York", true],
    [{ ignorePunctuation: true }, "The end!", "end", true],
    [{ ignorePunctuation: true }, "another end", "end", false],
    [{ as: "number" }, " 1,143.0 apples", "1143", true],
    [{ as: "number" }, "none", "1143", false],
    [{ as: "number" }, "none", "none", false],
    [{ pattern: "#### (\\S+)" }, "2 + 2 = 4\n#### 4", "4", true],
    [{ pattern: "#### (\\S+)" }, "4", "4", false],
  ];
  for (const [options, text, reference, want] of cases) {
    assertEquals(right(options, text, reference), want, `${text} | ${reference}`);
  }
  assertEquals(right({}, "b", "a", "b"), true);
});

Deno.test("the first sentences of a text", () => {
  const text = " One is here. Is two? Yes!  \n And more";
  assertEquals(firstSentences(text, 1), "One is here.");
  assertEquals(firstSentences(text, 2), "One is here. Is two?");
  assertEquals(firstSentences(text, 0), text.trim());
  assertEquals(firstSentences("", 3), "");
});

import { assertEquals, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { FieldTemplate } from "../../src/eval/fields.ts";
import { windowsOf } from "../../src/eval/perplexity.ts";

function render(source: string, row: Record<string, unknown>): string {
  return new FieldTemplate(source, "input").render(row, "data.jsonl, line 3");
}

Deno.test("templates make texts of fields", () => {
  const row = { q: "1 + 1?", answer: "so\n#### 2", choices: ["a", "b"], label: 1, n: 0, no: false };
  const cases: [string, string][] = [
    ["Q: {{q}}\nA:", "Q: 1 + 1?\nA:"],
    ["{{answer.split('#### ')[1]}}", "2"],
    ["{{choices[label]}}", "b"],
    ["{{q | upper}} {{n}} {{no}}", "1 + 1? 0 false"],
    ["{% for c in choices %}{{loop.index}}{{c}} {% endfor %}", "1a 2b "],
    ["{% set x = q %}{{x}}", "1 + 1?"],
    ["{{ 'yes' if label == 1 else 'no' }}", "yes"],
    ["plain", "plain"],
  ];
  for (const [source, want] of cases) assertEquals(render(source, row), want, source);
  const list = new FieldTemplate("{{choices}}", "choices");
  assertEquals(list.renderList(row, "line 1"), ["a", "b"]);
});

Deno.test("a field that is not there is an error, and not an empty text", () => {
  const fails = (source: string, row: Record<string, unknown>, message: string) => {
    assertThrows(() => render(source, row), CannotError, message);
  };
  const where = 'Cannot read "input" from data.jsonl, line 3: ';
  fails("{{question}}", { q: 1, a: 2 }, `${where}want a field "question": there is only "q", "a"`);
  fails("{{q.split(z)[0]}}", { q: "1" }, `${where}want a field "z"`);
  fails("{{q | replace(z, 'y')}}", { q: "1" }, `${where}want a field "z"`);
  fails("{{q}}", { q: null }, `${where}want a field "q"`);
  fails("{{q}}", {}, "there is only none");
  fails("{{q.nothing()}}", { q: "1" }, "want fields that");
  assertThrows(() => new FieldTemplate("{{q", "input"), CannotError, 'use "input" ("{{q")');
  const list = new FieldTemplate("{{q}}", "choices");
  for (const q of ["text", [], [[1]], { a: 1 }]) {
    assertThrows(() => list.renderList({ q }, "line 1"), CannotError, "want a list of texts");
  }
});

Deno.test("windows score each token but the first once, with as much before it as fits", () => {
  for (
    const [length, contextLength, stride] of [
      [2, 4, 3],
      [4, 4, 3],
      [5, 4, 3],
      [23, 4, 3],
      [23, 8, 1],
      [23, 8, 100],
      [9, 2, 1],
    ] as const
  ) {
    const ids = Array.from({ length }, (_, id) => id);
    const windows = windowsOf(ids, { contextLength, stride });
    assertEquals(windows.flatMap(({ ids, from }) => ids.slice(from)), ids.slice(1));
    for (const { ids: part, from } of windows) {
      assertEquals(part, ids.slice(part[0]!, part[0]! + part.length));
      assertEquals(part.length <= contextLength && from >= 1, true);
      assertEquals(part.length, Math.min(contextLength, part.at(-1)! + 1));
    }
  }
});

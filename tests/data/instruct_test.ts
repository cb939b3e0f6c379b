import { assertEquals, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { parseDemonstrations, readDemonstrations } from "../../src/data/instruct.ts";
import type { ChatMessage } from "../../src/prompt/chat_template.ts";
import { hasSystem, ROOT } from "../support/system.ts";

const dialogue = (user: string, assistant: string): ChatMessage[] => [
  { role: "user", content: user },
  { role: "assistant", content: assistant },
];

Deno.test("parseDemonstrations() tells four kinds of rows apart", () => {
  const chat = [{ role: "system", content: "s" }, ...dialogue("a", "b"), ...dialogue("c", "d")];
  const rows: [row: unknown, messages: unknown][] = [
    [{ prompt: " a ", completion: "b\n", id: 1 }, dialogue("a", "b")],
    [{ prompt: "a", response: "b" }, dialogue("a", "b")],
    [{ instruction: "a", input: "", output: "b" }, dialogue("a", "b")],
    [{ instruction: "a", input: "x", output: "b" }, dialogue("a\n\nx", "b")],
    [{ instruction: "a", output: "b" }, dialogue("a", "b")],
    [{ question: "a", answer: "b" }, dialogue("a", "b")],
    [{ question: "a", ground_truth: "b" }, dialogue("a", "b")],
    [{ messages: chat }, chat],
  ];
  const text = rows.map(([row]) => JSON.stringify(row)).join("\n\n");
  const { examples, bad } = parseDemonstrations(text, "x.jsonl");
  assertEquals(bad, []);
  assertEquals(examples.map(({ messages }) => messages), rows.map(([, messages]) => messages));
  assertEquals(examples.map(({ line }) => line), rows.map((_, i) => 2 * i + 1));
});

Deno.test("parseDemonstrations() reads an array of JSON with the lines of its rows", () => {
  const text = '[\n  {"prompt": "a", "completion": "b"},\n  {\n    "prompt": "c",\n' +
    '    "completion": "d"\n  }, {"prompt": "e", "completion": "f"}\n]\n';
  const { examples } = parseDemonstrations(text, "x.json");
  assertEquals(examples.map(({ line }) => line), [2, 3, 6]);
  assertEquals(examples[1]!.messages, dialogue("c", "d"));
  assertThrows(
    () => parseDemonstrations(text.slice(0, -12), "x.json"),
    CannotError,
    "Cannot read x.json, line 6: want a JSON array:",
  );
});

const FAULTS: [row: string, message: string][] = [
  ['{"prompt": "", "completion": "b"}', 'column "prompt": want a text: it is empty'],
  ['{"prompt": "a", "completion": 7}', 'column "completion": want a text: got 7'],
  ['{"instruction": "a", "output": " "}', 'column "output": want a text: it is empty'],
  [
    '{"text": "a"}',
    "want messages, prompt and completion, instruction and output, or question and answer: " +
    'it has "text"',
  ],
  ["[1]", "want a JSON object: got [1]"],
  ["{", "want a JSON object: got {"],
  ['{"messages": []}', 'column "messages": want messages: got []'],
  [
    '{"messages": [{"role": "user", "content": "a"}]}',
    'column "messages": want the assistant\'s message last: it is of user',
  ],
  [
    '{"messages": [{"role": "tool", "content": "a"}]}',
    'column "messages": want a role (system, user, assistant) and a content: ' +
    'got {"role":"tool","content":"a"}',
  ],
  [
    '{"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "a"}]}',
    'column "messages": want a system\'s message first: got "system"',
  ],
];

Deno.test("parseDemonstrations() names line and column of a bad row, or skips it", () => {
  const good = '{"prompt": "a", "completion": "b"}';
  for (const [row, message] of FAULTS) {
    const text = `${good}\n${row}\n${good}\n`;
    const where = message.startsWith("column") ? "line 2, " : "line 2: ";
    assertThrows(
      () => parseDemonstrations(text, "x.jsonl"),
      CannotError,
      `Cannot read x.jsonl, ${where}${message}; --skip-bad leaves such rows out`,
    );
    const { examples, bad } = parseDemonstrations(text, "x.jsonl", { skipBad: true });
    assertEquals([examples.length, bad.length, bad[0]!.line], [2, 1, 2]);
  }
  assertThrows(
    () => parseDemonstrations("{}\n{}\n", "x.jsonl"),
    CannotError,
    "(and 1 more bad rows); --skip-bad",
  );
  assertThrows(
    () => parseDemonstrations("{}\n{}\n", "x.jsonl", { skipBad: true }),
    CannotError,
    "Cannot read x.jsonl: want rows: all of its 2 rows are bad",
  );
  assertThrows(() => parseDemonstrations("", "x.jsonl"), CannotError, "want rows: there is none");
});

const DATA = new URL("../shared/data/", ROOT);
const REAL = [
  ["instruct/instruction-data.json", 1100],
  ["gsm8k/train.jsonl", 7473],
  ["gsm8k/model_solutions_k4.jsonl", 1319],
] as const;

for (const [path, count] of REAL) {
  const file = new URL(path, DATA);
  const isThere = hasSystem() && await Deno.stat(file).then(() => true, () => false);
  Deno.test({
    name: `readDemonstrations() reads all ${count} rows of ${path}` +
      (isThere ? "" : " (../shared/data is not there)"),
    ignore: !isThere,
    async fn() {
      const { examples, bad } = await readDemonstrations(file.pathname);
      assertEquals([examples.length, bad.length], [count, 0]);
    },
  });
}

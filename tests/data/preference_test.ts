import { assertEquals, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { pairWeights, parseComparisons, readComparisons } from "../../src/data/preference.ts";
import { hasSystem, ROOT } from "../support/system.ts";

const user = (content: string) => ({ role: "user", content });
const assistant = (content: string) => ({ role: "assistant", content });
const HH = "\n\nHuman: a\n\nAssistant: b\nmore\n\nHuman: c\n\nAssistant:";

Deno.test("parseComparisons() tells five kinds of rows apart", () => {
  const pair = { prompt: [user("a")], responses: ["x", "y"], ranks: [1, 2] };
  const rows: [row: unknown, comparison: unknown][] = [
    [{ prompt: "a", chosen: "x", rejected: "y" }, pair],
    [{ prompt: "a", chosen: "x", rejected: "y", confidence: 0.9 }, { ...pair, confidence: "0.9" }],
    [{ prompt: [user("a")], chosen: "x", rejected: "y" }, pair],
    [
      { instruction: "a", input: "i", output: "o", chosen: "x", rejected: "y" },
      { ...pair, prompt: [user("a\n\ni")] },
    ],
    [
      { chosen: `${HH} x`, rejected: `${HH} y` },
      { ...pair, prompt: [user("a"), assistant("b\nmore"), user("c")] },
    ],
    [
      { prompt: "a", chosen: [user("a"), assistant("x")], rejected: [user("a"), assistant("y")] },
      pair,
    ],
    [
      { prompt: "a", completions: ["x", "y", "z"], ranks: [2, 1, 2], confidence: "sure" },
      { prompt: [user("a")], responses: ["x", "y", "z"], ranks: [2, 1, 2], confidence: "sure" },
    ],
    [
      { prompt: "a", completions: ["x", "y"], scores: [0.5, 7] },
      { prompt: [user("a")], responses: ["x", "y"], ranks: [-0.5, -7] },
    ],
    [
      {
        question: "a",
        ground_truth: "g",
        m: { is_correct: false, solution: "x" },
        n: { is_correct: true, solution: "y" },
      },
      { prompt: [user("a")], responses: ["x", "y"], ranks: [2, 1] },
    ],
  ];
  const text = rows.map(([row]) => JSON.stringify(row)).join("\n");
  const { examples, bad } = parseComparisons(text, "x.jsonl");
  assertEquals(bad, []);
  assertEquals(examples.map(({ line: _, ...rest }) => rest), rows.map(([, want]) => want) as never);
  assertEquals(examples.map(({ line }) => line), rows.map((_, i) => i + 1));
});

const ten = Array.from({ length: 10 }, (_, k) => `${k}`);
const FAULTS: [row: unknown, message: string][] = [
  [{ prompt: "a", chosen: "x", rejected: "" }, 'column "rejected": want a text: it is empty'],
  [{ chosen: `${HH} x`, rejected: "\n\nHuman: a\n\nAssistant: y" }, 'column "rejected": want the'],
  [{ chosen: "hello", rejected: `${HH} y` }, 'column "chosen": want turns that begin with'],
  [{ chosen: `${HH} x\n\nHuman: d`, rejected: `${HH} y` }, "want the assistant's turn last"],
  [{ chosen: `${HH}`, rejected: `${HH} y` }, "turn 4 is empty"],
  [{ prompt: "a", completions: ["x"], ranks: [1] }, "want 2 to 9 responses: got 1"],
  [{ prompt: "a", completions: ten, ranks: ten.map(Number) }, "want 2 to 9 responses: got 10"],
  [{ prompt: "a", completions: ["x", "y"], ranks: [1] }, "want 2 numbers: got [1]"],
  [{ prompt: "a", completions: ["x", "y"] }, 'column "scores": want 2 numbers: got null'],
  [{ prompt: "a", completions: ["x", 2], ranks: [1, 2] }, "want texts: number 2 is none"],
  [{ prompt: "a", chosen: "x", rejected: "y", confidence: [] }, 'column "confidence": want a'],
  [{ prompt: "a" }, 'want chosen and rejected, or prompt, completions and ranks: it has "prompt"'],
];

Deno.test("parseComparisons() names line and column of a bad row, or skips it", () => {
  const good = JSON.stringify({ prompt: "a", chosen: "x", rejected: "y" });
  for (const [row, message] of FAULTS) {
    const text = `${good}\n${JSON.stringify(row)}\n`;
    const error = assertThrows(() => parseComparisons(text, "x.jsonl"), CannotError, message);
    assertEquals((error as Error).message.startsWith("Cannot read x.jsonl, line 2"), true);
    const { examples, bad } = parseComparisons(text, "x.jsonl", { skipBad: true });
    assertEquals([examples.length, bad.map(({ line }) => line)], [1, [2]]);
  }
});

Deno.test("pairWeights() leaves ties and responses of one text out, over all C(K, 2)", () => {
  const responses = ["a", "b", "c", "d"];
  const ranks = [2, 1, 2, 3];
  const { weights, pairs, ties } = pairWeights({ ranks, responses });
  const better = weights.flatMap((weight, n) => weight > 0 ? [[Math.floor(n / 4), n % 4]] : []);
  assertEquals(better, [[0, 3], [1, 0], [1, 2], [1, 3], [2, 3]]);
  assertEquals([pairs, ties], [5, 1]);
  assertEquals(new Set(weights), new Set([0, 1 / 6]));
  const same = pairWeights({ ranks: [1, 2], responses: ["a", "a"] });
  assertEquals([same.pairs, same.ties, ...same.weights], [0, 1, 0, 0, 0, 0]);
});

const DATA = new URL("../shared/data/", ROOT);
const REAL = [
  // The same text was chosen and rejected in 6 rows.
  ["preference/instruction-data-with-preference.json", 1100, 2, 6],
  // Pairs of solutions that are both right or both wrong, or the same.
  ["gsm8k/model_solutions_k4.jsonl", 1319, 4, 5485],
] as const;

for (const [path, count, K, ties] of REAL) {
  const file = new URL(path, DATA);
  const isThere = hasSystem() && await Deno.stat(file).then(() => true, () => false);
  Deno.test({
    name: `readComparisons() reads all ${count} rows of ${path}` +
      (isThere ? "" : " (../shared/data is not there)"),
    ignore: !isThere,
    async fn() {
      const { examples, bad } = await readComparisons(file.pathname);
      assertEquals([examples.length, bad.length], [count, 0]);
      assertEquals(new Set(examples.map(({ responses }) => responses.length)), new Set([K]));
      const all = examples.reduce((sum, comparison) => sum + pairWeights(comparison).ties, 0);
      assertEquals(all, ties);
    },
  });
}

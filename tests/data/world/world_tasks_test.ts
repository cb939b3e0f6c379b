import { assert, assertEquals } from "@std/assert";
import { examplesOf } from "../../../src/data/tasks.ts";
import { wordsOf } from "../../../src/data/world/grade.ts";
import { TASK_SPECS } from "../../../src/data/world/tasks.ts";
import type { TaskTableRow } from "../../../src/data/world/types.ts";
import { worldOf } from "../../../src/data/world/world.ts";
import type { TaskKind } from "../../../src/data/task_kind.ts";

const TASKS = Object.keys(TASK_SPECS) as TaskKind[];
const TRAIN = 4000;
const TEST = 2000;

function rows(task: TaskKind, split: "train" | "test", count: number): TaskTableRow[] {
  return Array.from({ length: count }, (_, i) => worldOf(0).taskRow(task, split, i));
}

function textOf({ label: _, ...texts }: TaskTableRow): string {
  return Object.values(texts).join(" ");
}

/** Naive Bayes over features of rows, trained on some and right on this share of others. */
function bayes(
  train: readonly TaskTableRow[],
  test: readonly TaskTableRow[],
  features: (row: TaskTableRow) => string[],
): number {
  const labels = [...new Set(train.map(({ label }) => label as string))].sort();
  const counts = labels.map(() => new Map<string, number>());
  const totals = labels.map(() => 0);
  for (const row of train) {
    const k = labels.indexOf(row.label as string);
    for (const feature of features(row)) {
      counts[k]!.set(feature, (counts[k]!.get(feature) ?? 0) + 1);
      totals[k]!++;
    }
  }
  const right = test.filter((row) => {
    const scores = labels.map((_, k) =>
      features(row).reduce(
        (sum, feature) =>
          sum + Math.log(((counts[k]!.get(feature) ?? 0) + 1) / (totals[k]! + 1000)),
        0,
      )
    );
    return labels[scores.indexOf(Math.max(...scores))] === row.label;
  });
  return right.length / test.length;
}

Deno.test("each task's rows are read with its specification", () => {
  for (const task of TASKS) {
    const table = rows(task, "train", 20).map((values, i) => ({ line: i + 1, values }));
    const { examples, labels, bad } = examplesOf(table, "world", TASK_SPECS[task]);
    assertEquals([examples.length, bad.length], [20, 0]);
    assertEquals(labels, TASK_SPECS[task].labels);
    const segments = { classification: 1, entailment: 2, similarity: 2, choice: 3 }[task];
    assert(examples.every((example) => example.segments.length === segments));
    const item = worldOf(0).item(task, "train", 3);
    assertEquals(labels[examples[3]!.label], item.answer);
    assertEquals(examples.filter(({ target }) => target === undefined), []);
  }
});

Deno.test("each label is as common, with each kind of item", () => {
  for (const task of TASKS) {
    const ones = new Map<string, [number, number]>();
    for (const { kind, answer, labels } of worldOf(1).items(task, "train", { count: TRAIN })) {
      const count = ones.get(kind) ?? [0, 0];
      count[labels!.indexOf(answer)]!++;
      ones.set(kind, count);
    }
    for (const [kind, [a, b]] of ones) {
      const z = (a - b) / Math.sqrt(a + b); // N(0, 1) where both are as likely
      assert(Math.abs(z) < 4, `${task}, ${kind}: ${a} and ${b}`);
    }
  }
});

Deno.test("neither the words of an example nor its length tell its label", () => {
  const bags: Record<string, (row: TaskTableRow) => string[]> = {
    words: (row) => wordsOf(textOf(row)),
    length: (row) => [String(textOf(row).length)],
    "word count": (row) => [String(wordsOf(textOf(row)).length)],
  };
  for (const task of TASKS) {
    const [train, test] = [rows(task, "train", TRAIN), rows(task, "test", TEST)];
    for (const [name, features] of Object.entries(bags)) {
      const share = bayes(train, test, features);
      assert(Math.abs(share - 0.5) < 0.05, `${name} of ${task}: right on ${share}`);
    }
  }
});

Deno.test("the two choices alone do not tell which is right, and the order of words does tell", () => {
  const [train, test] = [rows("choice", "train", TRAIN), rows("choice", "test", TEST)];
  const share = bayes(train, test, ({ choice1, choice2 }) => [
    ...wordsOf(choice1 as string).map((word) => `1 ${word}`),
    ...wordsOf(choice2 as string).map((word) => `2 ${word}`),
  ]);
  assert(Math.abs(share - 0.5) < 0.05, `right on ${share}`);
  // The same test finds a label where there is one: by the order of the two judgements.
  const order = bayes(
    rows("classification", "train", TRAIN),
    rows("classification", "test", TEST),
    (
      { sentence },
    ) => {
      const text = sentence as string;
      const first = text.search(/loved|liked|enjoyed/) < text.search(/hated|disliked|feared/);
      return [`${first} ${/, but in the end| before /.test(text)}`];
    },
  );
  assert(order > 0.99, `right on ${order}`);
});

/**
 * GPT-1's four tasks: items, and rows of tables as `train finetune` reads them.
 *
 * @module
 */
import type { TaskKind } from "../task_kind.ts";
import type { TaskSpec } from "../tasks.ts";
import { oneAnswer } from "./grade.ts";
import {
  choiceParts,
  classificationParts,
  entailmentParts,
  similarityParts,
  type TaskParts,
} from "./task_items.ts";
import type { Place, TaskTableRow, WorldItem } from "./types.ts";

const PARTS: Readonly<Record<TaskKind, (place: Place) => TaskParts>> = {
  classification: classificationParts,
  entailment: entailmentParts,
  similarity: similarityParts,
  choice: choiceParts,
};

function spec(
  task: TaskKind,
  labels: readonly string[],
  columns: Partial<TaskSpec["columns"]> & { first: string[] },
): TaskSpec & { labels: readonly string[] } {
  return { task, labels, columns: { second: [], choices: [], label: "label", ...columns } };
}

/** How the tables of {@linkcode taskRow} are read. */
export const TASK_SPECS: Readonly<Record<TaskKind, TaskSpec & { labels: readonly string[] }>> = {
  classification: spec("classification", ["bad", "good"], { first: ["sentence"] }),
  entailment: spec("entailment", ["no", "yes"], { first: ["premise"], second: ["hypothesis"] }),
  similarity: spec("similarity", ["different", "same"], {
    first: ["sentence1"],
    second: ["sentence2"],
  }),
  choice: spec("choice", ["0", "1"], { first: ["context"], choices: ["choice1", "choice2"] }),
};

/**
 * A row of a task's table, with the columns of its specification. @throws {RangeError} As `Draw`.
 */
export function taskRow(task: TaskKind, place: Place): TaskTableRow {
  const { first, rest, label } = PARTS[task](place);
  const { columns } = TASK_SPECS[task];
  const names = [...columns.first, ...columns.second, ...columns.choices];
  const texts = [first, ...rest];
  return { ...Object.fromEntries(names.map((name, i) => [name, texts[i]!])), label };
}

/** The same as text, for models without a head. */
function asPrompt(task: TaskKind, { first, rest }: TaskParts): string {
  switch (task) {
    case "classification":
      return `${first}\nIs it good or bad in the end?\nA:`;
    case "entailment":
      return `${first}\nDoes it follow that: ${rest[0]}\nA:`;
    case "similarity":
      return `${first} ${rest[0]}\nAre they the same or different?\nA:`;
    case "choice":
      return `${first}\n0: ${rest[0]}\n1: ${rest[1]}\nA:`;
  }
}

/**
 * An item of a task. Its `text` is what holds, in plain words: pre-training sees no labels.
 *
 * @throws {RangeError} As `heldOut` and `Draw`.
 */
export function taskItem(task: TaskKind, place: Place): WorldItem {
  const parts = PARTS[task](place);
  const { labels } = TASK_SPECS[task];
  return {
    ...place,
    family: task,
    kind: parts.kind,
    combination: parts.combination,
    prompt: asPrompt(task, parts),
    answer: parts.label,
    text: parts.text,
    labels,
    grade: oneAnswer(parts.label, (said) => labels.includes(said)),
  };
}

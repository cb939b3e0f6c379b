/**
 * `head.json`: what the head of a fine-tuned model scores, and where its examples come from.
 *
 * @module
 */
import * as z from "zod";
import { CannotError } from "../config/cannot.ts";
import type { TaskClasses, TaskSpec } from "./tasks.ts";

/** What a checkpoint says of its head. */
export interface TaskHead extends TaskSpec, TaskClasses {
  /** Names of the classes or choices. */
  readonly labels: readonly string[];
  /** Columns of TSV and CSV files without names. */
  readonly header?: readonly string[] | undefined;
  /** The most tokens of a text with those around it. */
  readonly maxTokens: number;
}

const list = z.array(z.string().min(1));

const schema = z.object({
  kind: z.literal("task"),
  task: z.enum(["classification", "entailment", "similarity", "choice"]),
  classes: z.int().min(1),
  labels: list,
  scores: z.tuple([z.number(), z.number()]).optional(),
  columns: z.object({ first: list, second: list, choices: list, label: z.string() }),
  header: list.optional(),
  maxTokens: z.int().min(1),
});

/** The content of `head.json`. */
export function headToJson(head: TaskHead): Record<string, unknown> {
  const { task, classes, labels, scores, columns, header, maxTokens } = head;
  return {
    kind: "task",
    task,
    classes,
    labels,
    ...(scores ? { scores } : {}),
    columns,
    ...(header ? { header } : {}),
    maxTokens,
  };
}

/** Reads what {@linkcode headToJson} wrote. @throws {CannotError} When it is of another kind. */
export function headFromJson(json: unknown): TaskHead {
  const parsed = schema.safeParse(json);
  if (parsed.success) {
    const { kind: _, ...head } = parsed.data;
    return head;
  }
  const { path, message } = parsed.error.issues[0]!;
  throw new CannotError(
    "read head.json",
    "want the head of a task",
    `${path.join(".")}: ${message}`,
  );
}

/**
 * As {@linkcode headFromJson}; undefined for the head of another kind, as a reward model's or an
 * imported classifier's, whose texts have no task tokens around them.
 *
 * @throws {CannotError} When it says that it is of a task, and is not.
 */
export function taskHeadFromJson(json: unknown): TaskHead | undefined {
  const isTask = typeof json === "object" && json !== null && "kind" in json &&
    json.kind === "task";
  return isTask ? headFromJson(json) : undefined;
}

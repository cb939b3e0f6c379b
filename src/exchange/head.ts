/**
 * What `head.json` says of a classification head beside the decoder.
 *
 * @module
 */
import * as z from "zod";
import { CannotError } from "../config/cannot.ts";

/** The file of a checkpoint that says what its head is. */
export const HEAD_FILE = "head.json";

/** As far as an exchange needs to know; there may be more. */
const schema = z.object({
  task: z.string().default("classification"),
  labels: z.array(z.string()).default([]),
});

/**
 * The content of `head.json` for a head of so many classes.
 *
 * @param labels names of the classes; those of `transformers` where there are none, or not as many
 */
export function headJson(classes: number, labels: readonly string[] = []): Record<string, unknown> {
  return { task: "classification", classes, labels: labelsFor(classes, labels) };
}

/**
 * Names of the classes of a head, from its `head.json`.
 *
 * @throws {CannotError} when the head is of a task whose scores are not those of one text
 */
export function headLabels(json: unknown, classes: number, act: string): string[] {
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    throw new CannotError(act, `want a task and labels in ${HEAD_FILE}`, "it has others");
  }
  const { task, labels } = parsed.data;
  if (task === "similarity") {
    const state = "that of similarity adds the states of two texts";
    throw new CannotError(act, "want a head that scores one text", state);
  }
  return labelsFor(classes, labels);
}

function labelsFor(classes: number, labels: readonly string[]): string[] {
  if (labels.length === classes && new Set(labels).size === classes) return [...labels];
  return Array.from({ length: classes }, (_, id) => `LABEL_${id}`);
}

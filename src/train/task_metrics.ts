/**
 * Which measures a task is judged by.
 *
 * @module
 */
import type { TaskKind } from "../data/task_kind.ts";
import { accuracy, f1, macroF1, matthews, pearson, spearman } from "./metrics.ts";

/** By name, the main one first. */
export type TaskMetrics = Readonly<Record<string, number>>;

/**
 * Pearson's and Spearman's correlation of scores; of classes accuracy, F1 (of the second class of
 * two, the mean of more) and Matthews' correlation; of choices accuracy.
 *
 * @throws {RangeError} When there are no predictions, or not one for each label.
 */
export function taskMetrics(
  predicted: ArrayLike<number>,
  labels: ArrayLike<number>,
  { task, scores, classes }: {
    task: TaskKind;
    scores?: readonly [number, number] | undefined;
    classes: number;
  },
): TaskMetrics {
  if (task === "similarity" && scores) {
    return { pearson: pearson(predicted, labels), spearman: spearman(predicted, labels) };
  }
  const right = accuracy(predicted, labels);
  if (task === "choice") return { accuracy: right };
  return {
    accuracy: right,
    f1: classes === 2 ? f1(predicted, labels, 1) : macroF1(predicted, labels, classes),
    matthews: matthews(predicted, labels),
  };
}

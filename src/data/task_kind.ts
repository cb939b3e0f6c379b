/**
 * The four tasks of GPT-1's fine-tuning.
 *
 * @module
 */

/** What an example is: one text, two in order, two in both orders, or a text and choices. */
export type TaskKind = "classification" | "entailment" | "similarity" | "choice";

/** Texts of one example that the decoder reads: both orders of a pair, each choice, else one. */
export function copiesOf({ task, classes }: { task: TaskKind; classes: number }): number {
  return task === "similarity" ? 2 : task === "choice" ? classes : 1;
}

/**
 * The head of GPT-1's supervised fine-tuning: the state of the last token, one linear layer, and
 * for two sentences or several choices how their rows make one example.
 *
 * Source: A. Radford et al., "Improving Language Understanding by Generative Pre-Training", 2018,
 * sections 3.2 and 3.3.
 *
 * @module
 */
import { copiesOf, type TaskKind } from "../data/task_kind.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { add } from "../ops/add.ts";
import { dropout, type DropoutOptions } from "../ops/dropout.ts";
import { gatherRows } from "../ops/rows.ts";
import { score } from "../ops/score.ts";
import type { DecoderDropout } from "./decoder.ts";
import type { ParameterSpec, Weights } from "./parameters.ts";

/** Sizes of a batch of one task. Row `copy · examples + example` is one text of one example. */
export interface TaskShape {
  /** Decides the texts of an example. */
  readonly task: TaskKind;
  /** E: examples of a batch. */
  readonly examples: number;
  /** K: classes, or choices of an example. */
  readonly classes: number;
}

/** Name of the head's weight, as in `GPT2ForSequenceClassification`. */
export const SCORE = "score.weight";

/** Site of the head's dropout: beyond those of any decoder's blocks. */
const SITE = 0xffff_0000;

/** The head's weight: (K, C), or (1, C) where each choice is scored by itself. */
export function scoreSpec(
  { task, classes }: Pick<TaskShape, "task" | "classes">,
  channels: number,
): ParameterSpec {
  const shape = [task === "choice" ? 1 : classes, channels];
  return { name: SCORE, shape, storedShape: shape, init: { std: 0.02 }, decay: true };
}

/** Rows of the hidden states that hold the extract tokens. */
export interface ExtractRows {
  /** u32; of one order (E), or of all choices (K E), choice after choice. */
  readonly rows: Tensor;
  /** buildBuckets(rows), u32; needed for the gradient. */
  readonly buckets?: Tensor;
}

/** Sizes of the {@linkcode ExtractRows} of a batch: two for a pair, else one. */
export function extractSizes(shape: TaskShape): number[] {
  const { task, examples } = shape;
  return task === "similarity" ? [examples, examples] : [copiesOf(shape) * examples];
}

/**
 * Row of the last live token of every text, as {@linkcode extractSizes} cuts them.
 *
 * @param lengths (R) live tokens of each row, from 1
 */
export function extractRows(
  shape: TaskShape,
  T: number,
  lengths: Uint32Array,
): Uint32Array<ArrayBuffer>[] {
  let start = 0;
  return extractSizes(shape).map((size) => {
    const first = start;
    start += size;
    return Uint32Array.from({ length: size }, (_, i) => (first + i) * T + lengths[first + i]! - 1);
  });
}

/**
 * Record the scores of a batch, and their backward: (E, K), or (K E, 1), choice after choice. The
 * states of both orders of a pair are added; all choices of an example share one dropout mask.
 *
 * @param hidden (R, T, C) of the decoder
 * @param extract as {@linkcode extractSizes} says
 * @throws {RangeError} When shapes do not fit.
 */
export function taskScores(
  plan: Plan,
  weights: Weights,
  hidden: Tensor,
  head: { shape: TaskShape; extract: readonly ExtractRows[]; dropout?: DecoderDropout },
): Tensor {
  const { shape, extract } = head;
  const sizes = extractSizes(shape);
  if (extract.length !== sizes.length || extract.some(({ rows }, i) => rows.count !== sizes[i])) {
    const got = extract.map(({ rows }) => rows.count).join(", ");
    throw new RangeError(
      `Cannot record the head of ${shape.task}: extract rows of ${sizes.join(", ")}: got ${got}`,
    );
  }
  let state = extract
    .map(({ rows, buckets }) => gatherRows(plan, hidden, rows, buckets ? { buckets } : {}))
    .reduce((a, b) => add(plan, a, b));
  if (head.dropout) {
    const C = hidden.shape.at(-1)!;
    const options: DropoutOptions = { ...head.dropout, site: SITE };
    // Choices lie E rows apart; with one example they lie a row apart, whatever C is.
    if (shape.task === "choice") options.period = shape.examples * C;
    state = dropout(plan, state, options);
  }
  return score(plan, state, weights.parameter(SCORE));
}

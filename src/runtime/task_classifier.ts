/**
 * What the runtime wants of a fine-tuned head: shares of the classes for examples in tokens. The
 * GPU's is here; tests have a fake.
 *
 * @module
 */
import { paddedLength } from "../data/task_batches.ts";
import { type TaskHead, taskHeadFromJson } from "../data/task_head.ts";
import { copiesOf } from "../data/task_kind.ts";
import type { EncodedExample } from "../data/task_tokens.ts";
import type { Device } from "../gpu/device.ts";
import { ActivationPool } from "../gpu/pool.ts";
import { TaskScorer } from "../infer/task_scorer.ts";
import type { TaskShape } from "../model/heads.ts";
import type { Weights } from "../model/parameters.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { scoreAll } from "../train/finetune.ts";

/** What a request gives of an example: one sequence a copy, in tokens. */
export type ExampleTokens = Pick<EncodedExample, "copies">;

/** Scores examples with the weights of one version. The runtime calls one method at a time. */
export interface TaskClassifier {
  /**
   * How many of the first examples make the next batch, from 1 on.
   *
   * @param examples one or more
   */
  fit(examples: readonly ExampleTokens[]): number;
  /**
   * (K) shares of the classes or choices of each example of one batch.
   *
   * @throws {Error} When it cannot; the next batch is tried anew.
   */
  score(examples: readonly ExampleTokens[]): Promise<Float32Array[]>;
  /** Gives everything back but the weights. */
  destroy(): void;
}

/** Batches are padded to one of these numbers of examples: a plan each, and a padded length. */
const BATCH_EXAMPLES = [1, 8, 32] as const;
/** Tokens of a batch, padding too: texts wait while it runs. */
const BATCH_TOKENS = 2048;

/**
 * Scorers of one version, one for each size of a batch; they share a pool, as no two run at a time.
 */
export class BatchScorers {
  readonly #device: Device;
  readonly #weights: Weights;
  readonly #kind: Pick<TaskShape, "task" | "classes">;
  /** By examples of a batch. */
  readonly #scorers = new Map<number, TaskScorer>();
  #pool: ActivationPool | undefined;

  /** Plans are recorded as batches need them. @param weights of the decoder and the head */
  constructor(
    device: Device,
    weights: Weights,
    { task, classes }: Pick<TaskShape, "task" | "classes">,
  ) {
    this.#device = device;
    this.#weights = weights;
    this.#kind = { task, classes };
  }

  /** As many as a batch of at most 2048 tokens has room for. */
  fit(examples: readonly ExampleTokens[]): number {
    const { contextLength } = this.#weights.config;
    let longest = 0;
    for (const [i, { copies }] of examples.entries()) {
      longest = Math.max(longest, ...copies.map(({ length }) => length));
      const rowTokens = paddedLength(longest, contextLength) * copiesOf(this.#kind);
      const isFull = bucketOf(i + 1) * rowTokens > BATCH_TOKENS;
      if (i > 0 && isFull) return i;
      if (i + 1 === BATCH_EXAMPLES.at(-1)) return i + 1;
    }
    return examples.length;
  }

  /** The scorer of a batch of so many, and its shape. */
  of(count: number): { scorer: TaskScorer; shape: TaskShape; contextLength: number } {
    const shape = { ...this.#kind, examples: bucketOf(count) };
    this.#pool ??= new ActivationPool(this.#device);
    const known = this.#scorers.get(shape.examples);
    const scorer = known ?? new TaskScorer(this.#device, this.#weights, shape, this.#pool);
    this.#scorers.set(shape.examples, scorer);
    return { scorer, shape, contextLength: this.#weights.config.contextLength };
  }

  /** Gives plans and activations back; a later batch makes them anew. */
  destroy(): void {
    for (const scorer of this.#scorers.values()) scorer.destroy();
    this.#scorers.clear();
    this.#pool?.destroy();
    this.#pool = undefined;
  }
}

/** The head of a fine-tuned decoder on a device. */
export class GpuClassifier implements TaskClassifier {
  readonly #scorers: BatchScorers;

  /** Plans are recorded as batches need them. @param weights of the decoder and the head */
  constructor(device: Device, weights: Weights, head: Pick<TaskHead, "task" | "classes">) {
    this.#scorers = new BatchScorers(device, weights, head);
  }

  /** As many as a batch of at most 2048 tokens has room for. */
  fit(examples: readonly ExampleTokens[]): number {
    return this.#scorers.fit(examples);
  }

  /** Scores a batch that {@linkcode fit} cut. */
  async score(examples: readonly ExampleTokens[]): Promise<Float32Array[]> {
    const encoded = examples.map(({ copies }) => ({
      copies,
      target: undefined,
      label: NaN,
      length: Math.max(...copies.map(({ length }) => length)),
      truncated: false,
    }));
    const { scorer, shape, contextLength } = this.#scorers.of(examples.length);
    try {
      const { shares } = await scoreAll(scorer, encoded, shape, contextLength);
      return [...shares];
    } catch (error) {
      this.destroy(); // a plan that was cut short is not used again
      throw error;
    }
  }

  /** Gives plans and activations back; a later batch makes them anew. */
  destroy(): void {
    this.#scorers.destroy();
  }
}

/** Examples that a batch of so many is padded to. */
function bucketOf(examples: number): number {
  return BATCH_EXAMPLES.find((bucket) => examples <= bucket)!;
}

/** The head of a checkpoint of fine-tuning; undefined where it has none, or one of another kind. */
export async function taskHeadOf(checkpoint: Checkpoint): Promise<TaskHead | undefined> {
  return checkpoint.has("head.json")
    ? taskHeadFromJson(await checkpoint.json("head.json"))
    : undefined;
}

/**
 * What the kinds of tasks have in common.
 *
 * @module
 */
import type { FewShotTemplateBody } from "../../routes/schemas/few_shot.ts";
import { ShotSelector } from "../prompt/few_shot_shots.ts";
import type { EvalTask, TaskItem } from "./load_task.ts";
import type { MetricName } from "./metrics.ts";
import type { ShotOptions, TaskKind, TaskOf } from "./task_schema.ts";

/** What is measured of an item. */
export interface Measured {
  /** Numbers for each metric. */
  readonly values: Partial<Record<MetricName, readonly number[]>>;
  /** What the model said, for the report. */
  readonly said: Readonly<Record<string, unknown>>;
}

/** Measures items of one task. */
export type Measure = (item: TaskItem) => Promise<Measured>;

/** A task of a kind. */
export type TaskFor<K extends TaskKind> = EvalTask & { readonly spec: TaskOf<K> };

/** Chooses an item's examples. */
export class ItemShots {
  readonly #options: ShotOptions;
  readonly #shots: readonly TaskItem[];
  readonly #isOwn: boolean;
  readonly #selector: ShotSelector<TaskItem>;

  /** From a task's pool, or from its own items. */
  constructor({ items, pool }: Pick<EvalTask, "items" | "pool">, options: ShotOptions) {
    this.#options = options;
    this.#isOwn = pool === undefined;
    this.#shots = options.k === 0 ? [] : pool ?? items;
    this.#selector = this.#select(options.seed);
  }

  /** In the order of the prompt; never the item itself. */
  of(item: TaskItem): TaskItem[] {
    const { k, seed, perItem } = this.#options;
    if (k === 0) return [];
    const selector = perItem ? this.#select(seed + item.index) : this.#selector;
    return selector.select(item.input, { without: this.#isOwn ? item.index : undefined });
  }

  #select(seed: number): ShotSelector<TaskItem> {
    const { k, strategy, order, balanceLabels } = this.#options;
    return new ShotSelector(this.#shots, { k, strategy, order, balanceLabels, seed });
  }
}

/** Examples as `/v1/few-shot` takes them. */
export function examplesOf(shots: readonly TaskItem[]): { input: string; output: string }[] {
  return shots.map(({ input, output }) => ({ input, output }));
}

/** A task's template over the one of its kind. A whole format has no use for its parts. */
export function templateOf(
  own: FewShotTemplateBody | undefined,
  ofKind: FewShotTemplateBody,
): FewShotTemplateBody {
  if (own?.format == null) return { ...ofKind, ...own };
  const { input_prefix: _, input_suffix: __, output_prefix: ___, ...rest } = ofKind;
  return { ...rest, ...own };
}

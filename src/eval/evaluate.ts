/**
 * Evaluations: a model asked every item of a task, in the caller's own process.
 *
 * ```ts ignore
 * const task = await loadTask("addition.jsonc");
 * const runtime = await openLocal(openGpuCore, { root, runs: ["run"] });
 * const { metrics } = await evaluate(task, runtime, { limit: 100 });
 * console.log(metrics.exact_match?.value);
 * ```
 *
 * @module
 */
import { createHash } from "node:crypto";
import { CannotError } from "../config/cannot.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { measureChoice } from "./choice.ts";
import { measureCloze } from "./cloze.ts";
import { LocalRoutes, RefusedError } from "./in_process.ts";
import type { Measure, Measured } from "./kind.ts";
import type { EvalTask, TaskItem } from "./load_task.ts";
import { type MetricName, METRICS, type MetricValue, summarise } from "./metrics.ts";
import { measurePerplexity } from "./perplexity.ts";
import { measureReasoning } from "./reasoning.ts";
import type { TaskKind } from "./task_schema.ts";
import { measureAnswers, measureSummaries, measureTranslations } from "./written.ts";

/** Items that are asked at a time; the numbers do not depend on it. */
const CONCURRENCY = 16;

/** How to evaluate. */
export interface EvaluateOptions {
  /** Id of a model of the runtime. @default its first */
  readonly model?: string | undefined;
  /** Only the first so many items. */
  readonly limit?: number | undefined;
  /** Items under way at a time. @default 16 */
  readonly concurrency?: number | undefined;
  /** Leave out items that do not fit the model, and list them, in place of an error. */
  readonly skipBad?: boolean | undefined;
  /** Told of each item that is done, not always in their order. */
  readonly progress?: ((done: number, all: number) => void) | undefined;
  /** Ends it: its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/** A measured item. */
export interface EvalItem extends Measured {
  /** Its number in the data, from 0. */
  readonly index: number;
  /** Its line. */
  readonly line: number;
}

/** What an evaluation found. Plain JSON. */
export interface EvalResult {
  /** What was asked. */
  readonly task: {
    readonly name: string;
    readonly kind: TaskKind;
    readonly file: string;
    readonly sha256: string;
    readonly shots: number;
  };
  /** What it was asked of: the same digest is the same data. */
  readonly data: {
    readonly file: string;
    readonly split: string | null;
    readonly sha256: string;
    readonly items: number;
    /** Digest of the inputs and outputs that were used. */
    readonly usedSha256: string;
  };
  /** Who was asked. */
  readonly model: {
    readonly id: string;
    readonly run: string;
    readonly step: number;
    readonly weightsHash: string;
    readonly parameters: number;
    readonly contextLength: number;
  };
  /** Where it ran. */
  readonly adapter: string;
  /** How long it took. */
  readonly seconds: number;
  /** Of all items. */
  readonly metrics: Readonly<Partial<Record<MetricName, MetricValue>>>;
  /** In the order of the data. */
  readonly items: readonly EvalItem[];
  /** Rows and items without a measure, and why. */
  readonly leftOut: readonly string[];
}

/**
 * Asks a model every item, and sums up.
 *
 * @throws {CannotError} When there is no such model, or an item does not fit it.
 */
export async function evaluate(
  task: EvalTask,
  runtime: Runtime,
  options: EvaluateOptions = {},
): Promise<EvalResult> {
  const startMs = performance.now();
  const routes = await LocalRoutes.open(runtime, options.model);
  const { spec } = task;
  const measure = measureOf(task, routes);
  const items = task.items.slice(0, options.limit);
  const { measured, leftOut } = await measureAll(task, { items, measure, options });
  if (measured.length === 0) {
    const act = `evaluate ${spec.name}`;
    throw new CannotError(act, "want an item that fits the model", leftOut[0] ?? "there is none");
  }
  const { id, run, step, weightsHash, parameters, contextLength } = routes.model.model;
  return {
    task: {
      name: spec.name,
      kind: spec.kind,
      file: task.path,
      sha256: task.taskSha256,
      shots: spec.kind === "perplexity" ? 0 : spec.shots.k,
    },
    data: {
      file: task.dataFile,
      split: spec.split ?? null,
      sha256: task.dataSha256,
      items: task.items.length,
      usedSha256: digest(items),
    },
    model: { id, run, step, weightsHash, parameters, contextLength },
    adapter: runtime.status().adapter,
    seconds: (performance.now() - startMs) / 1000,
    metrics: metricsOf(measured),
    items: measured,
    leftOut: [...task.leftOut, ...leftOut],
  };
}

function measureOf(task: EvalTask, routes: LocalRoutes): Measure {
  const { spec } = task;
  switch (spec.kind) {
    case "choice":
      return measureChoice({ ...task, spec }, routes);
    case "cloze":
      return measureCloze({ ...task, spec }, routes);
    case "perplexity":
      return measurePerplexity({ ...task, spec }, routes);
    case "generate":
      return measureAnswers({ ...task, spec }, routes);
    case "summary":
      return measureSummaries({ ...task, spec }, routes);
    case "translation":
      return measureTranslations({ ...task, spec }, routes);
    case "cot":
      return measureReasoning({ ...task, spec }, routes);
  }
}

async function measureAll(
  task: EvalTask,
  { items, measure, options }: {
    items: readonly TaskItem[];
    measure: Measure;
    options: EvaluateOptions;
  },
): Promise<{ measured: EvalItem[]; leftOut: string[] }> {
  const measured: (EvalItem | undefined)[] = items.map(() => undefined);
  const leftOut: (string | undefined)[] = items.map(() => undefined);
  let done = 0;
  const one = async (at: number) => {
    options.signal?.throwIfAborted();
    const item = items[at]!;
    try {
      measured[at] = { index: item.index, line: item.line, ...await measure(item) };
    } catch (error) {
      const placed = withPlace(error, task, item);
      if (!options.skipBad || !(placed instanceof CannotError)) throw placed;
      leftOut[at] = placed.message;
    }
    options.progress?.(++done, items.length);
  };
  // What all prompts begin with is taken in by the first alone, and found by the others.
  if (items.length > 0) await one(0);
  let next = 1;
  let hasFailed = false;
  const work = async () => {
    while (next < items.length && !hasFailed) {
      try {
        await one(next++);
      } catch (error) {
        hasFailed = true; // those under way end, no others begin
        throw error;
      }
    }
  };
  const concurrency = Math.max(1, options.concurrency ?? CONCURRENCY);
  const ends = await Promise.allSettled(Array.from({ length: concurrency }, work));
  const failed = ends.find((end) => end.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return {
    measured: measured.filter((item) => item !== undefined),
    leftOut: leftOut.filter((line) => line !== undefined),
  };
}

/** Says which item could not be measured. */
function withPlace(error: unknown, { spec, dataFile }: EvalTask, { line }: TaskItem): unknown {
  if (!(error instanceof CannotError || error instanceof RangeError)) return error;
  const act = `evaluate ${spec.name} on ${dataFile}, line ${line}`;
  const want = error instanceof RefusedError
    ? "want an item that fits the model"
    : "want an item that can be measured";
  return new CannotError(act, want, error.message, { cause: error });
}

function metricsOf(items: readonly EvalItem[]): EvalResult["metrics"] {
  const metrics: Partial<Record<MetricName, MetricValue>> = {};
  for (const name of Object.keys(METRICS) as MetricName[]) {
    const rows = items.flatMap(({ values }) => values[name] === undefined ? [] : [values[name]]);
    if (rows.length > 0) metrics[name] = summarise(name, rows);
  }
  return metrics;
}

function digest(items: readonly TaskItem[]): string {
  const hash = createHash("sha256");
  for (const { input, references, labels } of items) {
    hash.update(JSON.stringify([input, references, labels]));
  }
  return hash.digest("hex");
}

/**
 * Two evaluations of the same items, held against each other.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import type { EvalResult } from "./evaluate.ts";
import { type Metric, type MetricName, METRICS } from "./metrics.ts";
import { bootstrap, type Interval, mcnemar } from "./statistics.ts";

/** A metric of both. */
export interface Difference {
  /** Of the first. */
  readonly first: number;
  /** Of the second. */
  readonly second: number;
  /** Second less first. */
  readonly difference: number;
  /** Its 95 % interval, by the bootstrap over pairs; null for a single item. */
  readonly interval: Interval | null;
  /** Of McNemar's exact test; undefined where a metric is no share. */
  readonly p?: number | undefined;
  /** Items that only the first has right, and only the second. */
  readonly only?: readonly [first: number, second: number] | undefined;
  /** Items that both have. */
  readonly items: number;
}

/** All metrics that both have. */
export type Comparison = Readonly<Partial<Record<MetricName, Difference>>>;

/**
 * Compares item by item.
 *
 * @throws {CannotError} When the two were not asked the same, or have no item in common.
 */
export function compare(first: EvalResult, second: EvalResult): Comparison {
  const act = `compare ${first.task.name} with ${second.task.name}`;
  if (first.data.sha256 !== second.data.sha256) {
    throw new CannotError(act, "want two evaluations of the same data", "their digests differ");
  }
  if (first.task.kind !== second.task.kind) {
    const state = `they are of ${first.task.kind} and ${second.task.kind}`;
    throw new CannotError(act, "want two evaluations of one kind", state);
  }
  const others = new Map(second.items.map((item) => [item.index, item]));
  const differences: Partial<Record<MetricName, Difference>> = {};
  for (const name of Object.keys(METRICS) as MetricName[]) {
    const pairs = first.items.flatMap(
      ({ index, values }): [readonly number[], readonly number[]][] => {
        const [one, two] = [values[name], others.get(index)?.values[name]];
        return one === undefined || two === undefined ? [] : [[one, two]];
      },
    );
    if (pairs.length > 0) differences[name] = difference(METRICS[name], pairs);
  }
  if (Object.keys(differences).length > 0) return differences;
  throw new CannotError(act, "want items that both have", "there is none");
}

function difference(
  metric: Metric,
  pairs: readonly (readonly [readonly number[], readonly number[]])[],
): Difference {
  const { width } = metric;
  const rows = pairs.map(([one, two]) => [...one, ...two]);
  const sums = rows[0]!.map((_, k) => rows.reduce((sum, row) => sum + row[k]!, 0));
  const of = (sums: readonly number[], items: number) =>
    metric.value(sums.slice(width), items) - metric.value(sums.slice(0, width), items);
  const values = {
    first: metric.value(sums.slice(0, width), rows.length),
    second: metric.value(sums.slice(width), rows.length),
    difference: of(sums, rows.length),
    interval: bootstrap(rows, of) ?? null,
    items: rows.length,
  };
  if (metric.kind !== "share") return values;
  const count = (one: number, two: number) =>
    rows.filter(([a, b]) => a === one && b === two).length;
  const only = [count(1, 0), count(0, 1)] as const;
  return { ...values, p: mcnemar(...only), only };
}

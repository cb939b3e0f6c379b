/**
 * Evaluations and comparisons as tables for people.
 *
 * @module
 */
import type { Comparison } from "./compare.ts";
import type { EvalResult } from "./evaluate.ts";
import { type MetricName, METRICS } from "./metrics.ts";
import type { Interval } from "./statistics.ts";

/** What was measured, in a few lines. */
export function showResult({ task, data, model, metrics, leftOut, ...rest }: EvalResult): string {
  const most = Math.max(...Object.values(metrics).map(({ items }) => items));
  const split = data.split === null ? "" : `${data.split} split, `;
  const rows = Object.entries(metrics).map(([name, { value, interval, items }]) => [
    name,
    figure(value),
    range(interval),
    String(items),
    METRICS[name as MetricName].about,
  ]);
  const left = leftOut.length === 0 ? [] : [
    `${leftOut.length} left out; the first: ${leftOut[0]}`,
  ];
  return [
    `${task.name}: ${task.kind}, ${shots(task.shots)}, ${most} of ${data.items} items`,
    `${model.id}: step ${model.step}, ${model.parameters.toLocaleString("en-US")} parameters, ` +
    `weights ${model.weightsHash.slice(0, 12)}, on ${rest.adapter}, ${rest.seconds.toFixed(1)} s`,
    `${data.file}: ${split}sha256 ${data.sha256.slice(0, 12)}`,
    ...table(["metric", "value", "95 % interval", "items", ""], rows),
    ...left,
  ].join("\n");
}

function shots(count: number): string {
  return count === 0 ? "zero-shot" : count === 1 ? "one-shot" : `${count} shots`;
}

/** What is different, in a few lines. */
export function showComparison(
  comparison: Comparison,
  { first, second }: { first: EvalResult; second: EvalResult },
): string {
  const rows = Object.entries(comparison).map(([name, each]) => [
    name,
    figure(each.first),
    figure(each.second),
    `${each.difference > 0 ? "+" : ""}${figure(each.difference)}`,
    range(each.interval),
    each.p === undefined ? "" : figure(each.p),
    each.only === undefined ? "" : each.only.join(" / "),
    String(each.items),
  ]);
  const names = [first, second].map(({ model, task }) => {
    return `${task.name} (${shots(task.shots)}) by ${model.id}, step ${model.step}`;
  });
  const head = [
    ...["metric", "first", "second", "difference", "95 % interval"],
    ...["McNemar p", "only first / second", "items"],
  ];
  return [`first: ${names[0]}`, `second: ${names[1]}`, ...table(head, rows)].join("\n");
}

/** Four digits that count. */
function figure(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000) return value.toFixed(0);
  return size < 1e-4 ? value.toExponential(1) : String(Number(value.toPrecision(4)));
}

function range(interval: Interval | null): string {
  return interval === null ? "" : `${figure(interval[0])} to ${figure(interval[1])}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  return all.map((row) => row.map((cell, at) => cell.padEnd(widths[at]!)).join("  ").trimEnd());
}

/**
 * The report of a run: one HTML page that needs nothing else, and its chart as a file of its own.
 *
 * @module
 */
import { join } from "node:path";
import { lossChart, lossCurves } from "./loss_chart.ts";
import type { MetricsRecord } from "./metrics.ts";
import { Markup, markup, PAGE_STYLE } from "./markup.ts";
import { rewardChart, rewardCurves } from "./reward_chart.ts";
import { type Json, Run, type RunInfo, type RunWriter } from "./run_folder.ts";

/** What a report tells. */
export interface ReportContent {
  /** Name of the run. */
  readonly name: string;
  /** Where it comes from. */
  readonly info: RunInfo;
  /** Lines of `metrics.jsonl`. */
  readonly metrics: readonly MetricsRecord[];
  /** Steps of the checkpoints that are kept. */
  readonly checkpoints: readonly number[];
  /** Text that the model wrote on the way; empty for none. */
  readonly samples: string;
  /** From {@linkcode lossChart}. */
  readonly chart: string;
}

/** Evaluations in the table: the last so many. */
const MOST_ROWS = 200;
/** Of the samples the end is shown. */
const MOST_CHARACTERS = 20_000;

/**
 * Writes `loss.svg`, or `reward.svg` of a run that learns from rewards, and `report.html` into the
 * run's folder; nothing while there is nothing to draw.
 */
export async function writeReport(run: RunWriter): Promise<void> {
  const metrics = await run.metrics();
  const curves = lossCurves(metrics);
  const rewards = rewardCurves(metrics);
  const isRewarded = rewards.train.length + rewards.heldOut.length > 0;
  if (!isRewarded && curves.train.length + curves.validation.length === 0) return;
  const chart = isRewarded
    ? await rewardChart(rewards, `Rewards of ${run.name}`)
    : await lossChart(curves, `Loss of ${run.name}`);
  await run.writeText(isRewarded ? "reward.svg" : "loss.svg", chart);
  const html = reportHtml({
    name: run.name,
    info: (await Run.open(run.root, run.name)).info, // a resumed run may have new settings
    metrics,
    checkpoints: await run.steps(),
    samples: await samplesOf(run),
    chart,
  });
  await run.writeText("report.html", html);
}

async function samplesOf(run: Run): Promise<string> {
  try {
    return await Deno.readTextFile(join(run.path, "samples.txt"));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

/** The page. */
export function reportHtml(content: ReportContent): string {
  const { name, info, metrics, checkpoints, samples, chart } = content;
  const steps = metrics.at(-1)?.step ?? 0;
  const kept = checkpoints.length > 0 ? `; checkpoints of step ${checkpoints.join(", ")}` : "";
  const end = samples.slice(-MOST_CHARACTERS);
  const data = info.data.map(({ name, sha256, tokens }) =>
    [name, `${tokens.toLocaleString("en")} tokens, SHA-256 ${sha256}`] as const
  );
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${name}</title>
<style>${new Markup(PAGE_STYLE)}</style>
</head>
<body>
<h1>${name}</h1>
<p>${info.stage}, begun ${info.createdAt}, ${steps} steps so far${kept}</p>
${new Markup(chart)}
<h2>Evaluations</h2>
${evaluations(metrics)}
${end === "" ? "" : markup`<h2>Samples</h2><pre>${end.length < samples.length && "…"}${end}</pre>`}
<h2>Configuration</h2>
${pairs(flatten(info.config))}
<h2>Data</h2>
${pairs(data)}
<h2>Made with</h2>
${pairs(flatten({ adapter: info.adapter, kernels: info.variants, version: info.versions }))}
</body>
</html>
`.text;
}

const COLUMNS: readonly [name: string, label: string, digits: number][] = [
  ["train/loss", "training loss", 4],
  ["val/loss", "validation loss", 4],
  ["val/perplexity", "perplexity", 2],
  ["val/bits_per_byte", "bits a byte", 3],
  ["lr", "learning rate", 6],
  ["tokens_per_second", "tokens/s", 0],
];

/** Of a run that learns from rewards. */
const REWARD_COLUMNS: typeof COLUMNS = [
  ["eval/scores", "score", 4],
  ["eval/kl", "divergence", 3],
  ["eval/ended", "ended", 3],
  ["objective/scores", "training score", 4],
  ["objective/kl", "training divergence", 3],
  ["objective/kl_coef", "klCoef", 4],
  ["loss/ptx_avg", "pre-training loss", 4],
];

/** A row a step that was evaluated, with what that step's own line says. */
function evaluations(metrics: readonly MetricsRecord[]): Markup {
  const rows = new Map<number, MetricsRecord>();
  let before: MetricsRecord | undefined;
  for (const record of metrics) {
    if ("val/loss" in record || "eval/scores" in record) {
      rows.set(record.step, { ...(before?.step === record.step ? before : {}), ...record });
    }
    before = record;
  }
  if (rows.size === 0) return markup`<p>None yet.</p>`;
  const columns = [...rows.values()].some((row) => "eval/scores" in row) ? REWARD_COLUMNS : COLUMNS;
  const cell = (value: MetricsRecord[string] | undefined, digits: number) =>
    markup`<td>${typeof value === "number" && value.toFixed(digits)}</td>`;
  const lines = [...rows.values()].slice(-MOST_ROWS).map((row) => {
    const cells = columns.map(([name, , digits]) => cell(row[name], digits));
    return markup`<tr>${cell(row.step, 0)}${cells}</tr>\n`;
  });
  const head = columns.map(([, label]) => markup`<th>${label}</th>`);
  return markup`<table>\n<tr><th>step</th>${head}</tr>\n${lines}</table>`;
}

function pairs(entries: readonly (readonly [string, string])[]): Markup {
  const lines = entries.map(([key, value]) => markup`<tr><th>${key}</th><td>${value}</td></tr>\n`);
  return markup`<table class="pairs">\n${lines}</table>`;
}

/** Nested values by dotted names, as `--set` takes them. */
function flatten(value: { [key: string]: Json }, prefix = ""): [string, string][] {
  return Object.entries(value).flatMap(([key, inner]): [string, string][] => {
    const path = `${prefix}${key}`;
    if (typeof inner === "object" && inner !== null && !Array.isArray(inner)) {
      return flatten(inner, `${path}.`);
    }
    return [[path, typeof inner === "string" ? inner : JSON.stringify(inner)]];
  });
}

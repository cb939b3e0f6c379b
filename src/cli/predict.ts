/**
 * `brachio predict`: what a fine-tuned run says of examples, in batches, a line of JSON each.
 *
 * @module
 */
import { CannotError, orCannot } from "../config/cannot.ts";
import { faultError, type RowFault } from "../data/tables.ts";
import { headFromJson, type TaskHead } from "../data/task_head.ts";
import { type Example, readExamples } from "../data/tasks.ts";
import { Device } from "../gpu/device.ts";
import { ActivationPool } from "../gpu/pool.ts";
import { TaskScorer } from "../infer/task_scorer.ts";
import { configFromJson } from "../model/config_json.ts";
import { scoreSpec, type TaskShape } from "../model/heads.ts";
import { Weights } from "../model/parameters.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { listRuns, Run, runsRoot } from "../run/run_folder.ts";
import { loadTokenizer } from "../tokenizer/file.ts";
import { loadWeights } from "../train/checkpoint.ts";
import { scoreAll, type Scored } from "../train/finetune.ts";
import { encodeExamples, type TaskExample } from "../train/finetune_data.ts";
import { taskMetrics } from "../train/task_metrics.ts";
import { UsageError } from "./errors.ts";

/** Options of `brachio predict`, as the command line gives them. */
export interface PredictCommand {
  /** A file of examples. */
  data?: string;
  /** The parts of one example. */
  text?: string[];
  /** A file for the lines. */
  out?: string;
  /** Name of the run; else the newest that was fine-tuned. */
  run?: string;
  /** Folder of all runs. */
  runs?: string;
  /** Which checkpoint of the run. */
  checkpoint: number | "current" | "last" | "best";
  /** Examples of a batch. */
  batchRows: number;
  /** Leaves bad rows out and lists them. */
  skipBad?: boolean;
  /** False: without the subgroups feature. */
  subgroups: boolean;
  /** False: without the shader-f16 feature. */
  f16: boolean;
}

/** Predicts all examples, and returns the exit status. */
export async function predict(options: PredictCommand): Promise<number> {
  if (options.batchRows < 1) throw new UsageError("--batch-rows must be 1 or more: got 0");
  const root = runsRoot(options.runs);
  const run = options.run === undefined
    ? await newestFinetuned(root)
    : await Run.open(root, options.run);
  const checkpoint = await run.checkpoint(options.checkpoint);
  if (!checkpoint.has("head.json")) {
    const state = `its stage is ${run.info.stage}`;
    throw new CannotError(`predict with run "${run.name}"`, "want a fine-tuned run", state);
  }
  const head = headFromJson(await checkpoint.json("head.json"));
  const read = await examplesOf(options, head);
  const tokenizer = loadTokenizer(await checkpoint.text("tokenizer.json"));
  const { examples, bad } = encodeExamples(read, head, { tokenizer, maxTokens: head.maxTokens });
  if (bad.length > 0 && !options.skipBad) throw faultError(options.data ?? "--text", bad[0]!);
  for (const fault of bad) sayLeftOut(fault);
  const badLines = new Set(bad.map(({ line }) => line));
  const kept = read.filter(({ line }) => !badLines.has(line));
  if (kept.length === 0) {
    throw new CannotError(`predict ${options.data}`, "want examples", "all of its rows are bad");
  }
  const device = await Device.open({ subgroups: options.subgroups, f16: options.f16 });
  try {
    const scored = await scoreExamples(device, checkpoint, head, examples, options.batchRows);
    await writeLines(options.out, kept, head, scored);
    sayMetrics(run.name, checkpoint.step, head, examples, scored);
    return 0;
  } finally {
    device.close();
  }
}

async function examplesOf(
  { data, text, skipBad = false }: PredictCommand,
  head: TaskHead,
): Promise<readonly Example[]> {
  if ((data === undefined) === (text === undefined)) {
    throw new UsageError("predict wants one of --data and --text");
  }
  if (data !== undefined) {
    const { examples, bad } = await readExamples(data, head, {
      header: head.header,
      skipBad,
      classes: head,
      labelOptional: true,
    });
    for (const fault of bad) sayLeftOut(fault);
    return examples;
  }
  const { task, classes } = head;
  const count = task === "classification" ? 1 : task === "choice" ? 1 + classes : 2;
  if (text!.length !== count || text!.some((part) => part.trim() === "")) {
    const what = task === "choice" ? `a text and ${classes} choices` : `${count} texts`;
    throw new UsageError(`--text must be ${what} for ${task}: got ${text!.length}`);
  }
  return [{ line: 1, segments: text!, target: undefined, label: NaN }];
}

function sayLeftOut({ line, column, want, state }: RowFault): void {
  const where = column === undefined ? "" : `, column "${column}"`;
  console.error(`brachio: left out line ${line}${where}: ${want}: ${state}`);
}

async function newestFinetuned(root: string): Promise<Run> {
  for (const run of await listRuns(root)) {
    if (run.info.stage === "finetune" && await run.currentStep() !== undefined) return run;
  }
  throw new CannotError(`find a run in ${root}`, "want one that was fine-tuned", "there is none");
}

/** What a fine-tuned checkpoint says of examples. */
export async function scoreExamples(
  device: Device,
  checkpoint: Checkpoint,
  head: TaskHead,
  examples: readonly TaskExample[],
  batchRows: number,
): Promise<Scored> {
  const config = configFromJson(await checkpoint.json("config.json"));
  const shape: TaskShape = {
    task: head.task,
    classes: head.classes,
    examples: Math.min(batchRows, examples.length),
  };
  const heads = [scoreSpec(shape, config.channels)];
  const weights = new Weights(device, config, { trainable: false, heads });
  const pool = new ActivationPool(device);
  const scorer = new TaskScorer(device, weights, shape, pool);
  try {
    loadWeights(device, checkpoint, weights);
    return await scoreAll(scorer, examples, shape, config.contextLength, head.scores);
  } finally {
    scorer.destroy();
    pool.destroy();
    weights.destroy();
  }
}

async function writeLines(
  out: string | undefined,
  examples: readonly Example[],
  head: TaskHead,
  { predicted, shares }: Scored,
): Promise<void> {
  const { labels, scores, task } = head;
  const isScore = task === "similarity" && scores !== undefined;
  const lines = examples.map(({ line, label }, i) => {
    const round = (value: number) => Number(value.toFixed(6));
    const of = (value: number) => isScore ? round(value) : labels[value]!;
    const all = Array.from(shares[i]!, (share, k) => [labels[k]!, round(share)]);
    return JSON.stringify({
      line,
      prediction: of(predicted[i]!),
      ...(Number.isNaN(label) ? {} : { label: of(label) }),
      shares: Object.fromEntries(all),
    });
  });
  const text = lines.join("\n") + "\n";
  if (out === undefined) {
    let bytes = new TextEncoder().encode(text);
    try {
      while (bytes.length > 0) bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error; // nobody reads any more
    }
  } else {
    await orCannot(`write ${out}`, "want a file", () => Deno.writeTextFile(out, text));
  }
}

/** How good the predictions are, where every example has a label. */
function sayMetrics(
  name: string,
  step: number,
  head: TaskHead,
  examples: readonly TaskExample[],
  { predicted, loss }: Scored,
): void {
  const labels = examples.map(({ label }) => label);
  const parts = [`${examples.length} ${examples.length === 1 ? "example" : "examples"}`];
  if (labels.every((label) => !Number.isNaN(label))) {
    parts.push(`loss ${loss.toFixed(4)}`);
    for (const [metric, value] of Object.entries(taskMetrics(predicted, labels, head))) {
      parts.push(`${metric} ${value.toFixed(4)}`);
    }
  }
  console.error(`brachio: ${name}, step ${step}: ${parts.join(", ")}`);
}

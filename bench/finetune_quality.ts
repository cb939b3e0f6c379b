/**
 * What fine-tuning is worth: SST-2 beside TF-IDF with logistic regression, the other data sets
 * with intervals, and the ablation of Radford et al. 2018 in miniature: two tasks with 500 labels
 * and five seeds, with pre-training, without it, and without the auxiliary loss.
 *
 * It starts from a run that `./brachio train pretrain` made of local text: `BRACHIO_BENCH_RUN` is
 * its folder. It takes long; `BRACHIO_BENCH_PART` is a file of finished cases, so that a bench that was
 * ended goes on. `BRACHIO_BENCH_DATA` is the folder with the data sets.
 *
 * @module
 */
import { basename, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { TASK_TOKENS } from "../src/data/task_tokens.ts";
import { readTable } from "../src/data/tables.ts";
import type { Device } from "../src/gpu/device.ts";
import { configFromJson } from "../src/model/config_json.ts";
import { PhiloxStream } from "../src/random/philox.ts";
import type { Checkpoint } from "../src/run/checkpoint.ts";
import { Run } from "../src/run/run_folder.ts";
import { loadTokenizer } from "../src/tokenizer/file.ts";
import { Finetuning } from "../src/train/finetune.ts";
import { finetunePreset, finetuneSchema } from "../src/train/finetune_config.ts";
import { loadFinetuneData } from "../src/train/finetune_data.ts";
import { wilson } from "../src/train/metrics.ts";
import type { Bench, BenchContext, Row } from "./harness.ts";

const DATA = new URL("../../shared/data/", import.meta.url);
const PEER = new URL("./peers/tfidf.py", import.meta.url);
/** Points of accuracy that SST-2 may lie below TF-IDF. */
const SST2_MARGIN = 0.02;
const SEEDS = [1, 2, 3, 4, 5];
const LABELS = 500;
const EPOCHS = 5;
/** A small decoder of little pre-training has more to learn than GPT-1 had: a higher rate. */
const RECIPE = { lr: 5e-4, dropout: 0.1, warmup: 0.05 };

/** Ways to train the tasks of the ablation. */
const VARIANTS = {
  "pre-trained": {},
  "not pre-trained": { init: "random" },
  "pre-trained, auxLmCoef 0": { auxLmCoef: 0 },
} as const;

/** One training. */
interface Case {
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** What came of it. */
interface Outcome {
  readonly name: string;
  readonly metrics: Readonly<Record<string, number>>;
  readonly examples: number;
  readonly seconds: number;
}

/** `./brachio bench finetune_quality` */
export const bench: Bench = {
  name: "finetune_quality",
  summary: "SST-2 beside TF-IDF, and the gain of pre-training with 500 labels and five seeds",
  run: runAll,
};

async function runAll({ device, quick, peers }: BenchContext) {
  const root = Deno.env.get("BRACHIO_BENCH_DATA") ?? fileURLToPath(DATA);
  const folder = Deno.env.get("BRACHIO_BENCH_RUN");
  if (folder === undefined) {
    return {
      rows: [],
      notes: ["not run: BRACHIO_BENCH_RUN is to be the folder of a pre-trained run"],
    };
  }
  const parent = await (await Run.open(dirname(folder), basename(folder))).checkpoint();
  const orderFile = await wordOrderFile(root);
  const tasks = ablationTasks(root, orderFile);
  const cases = [
    ...Object.entries(VARIANTS).flatMap(([variant, more]) =>
      SEEDS.flatMap((seed) =>
        Object.entries(tasks).map(([task, settings]): Case => ({
          name: `${task}, ${variant}, seed ${seed}`,
          settings: { ...settings, ...more, seed, limit: LABELS, epochs: EPOCHS },
        }))
      )
    ),
    ...wholeTasks(root),
  ];
  const outcomes = await finished();
  for (const { name, settings } of quick ? cases.slice(-2) : cases) {
    if (outcomes.has(name)) continue;
    const outcome = await train(device, parent, name, { ...RECIPE, ...settings });
    outcomes.set(name, outcome);
    await keep(outcome);
    console.log(`${name}: ${describe(outcome)}`);
  }
  await Deno.remove(dirname(orderFile), { recursive: true });
  if (quick) return { rows: [], notes: ["--quick trains two cases and compares nothing"] };
  const notes = await Array.fromAsync(judgements(root, outcomes, Object.keys(tasks), peers));
  const rows = wholeTasks(root).map(({ name }): Row => {
    const { seconds, metrics, examples } = outcomes.get(name)!;
    const ms = 1000 * seconds;
    const extra = Object.entries(metrics).map(([metric, value]) => [metric, value.toFixed(4)]);
    return {
      name,
      timing: { ms, lowMs: ms, highMs: ms, samples: 1 },
      errorShare: 0,
      extra: { examples, ...Object.fromEntries(extra) },
    };
  });
  return { rows, notes };
}

/** The four data sets whole. */
function wholeTasks(root: string): Case[] {
  const of = (preset: string, data: string, more: Record<string, unknown>): Case => ({
    name: preset,
    settings: { ...finetunePreset(preset), data: `${root}/${data}`, ...more },
  });
  return [
    of("sst2", "sst2/train.tsv", { dev: `${root}/sst2/dev.tsv` }),
    of("rte", "rte/train.jsonl", { validation: 0.2 }),
    of("stsb", "stsb/train.csv", { dev: `${root}/stsb/dev.csv` }),
    of("copa", "copa/dev.xml", { validation: 0.3, epochs: 10 }),
  ];
}

function ablationTasks(root: string, orderFile: string): Record<string, Record<string, unknown>> {
  return {
    "sentiment (SST-2)": {
      ...finetunePreset("sst2"),
      data: `${root}/sst2/train.tsv`,
      dev: `${root}/sst2/dev.tsv`,
    },
    "word order (sentence or its words shuffled)": {
      task: "classification",
      data: orderFile,
      validation: 0.5,
      columns: { first: "text" },
    },
  };
}

/**
 * Every other sentence of STS-B's dev file with its words shuffled: a task without a cue in the
 * words themselves, of text that no pre-training here has read.
 */
async function wordOrderFile(root: string): Promise<string> {
  const header = ["sentence1", "sentence2", "score"];
  const stream = new PhiloxStream(7);
  const sentences = new Set<string>();
  for (const row of await readTable(`${root}/stsb/dev.csv`, { header })) {
    if (!("values" in row)) continue;
    for (const column of header.slice(0, 2)) {
      // Without the marks and capitals that would give first and last words away.
      const text = String(row.values[column]).toLowerCase().replaceAll(/[^a-z0-9' ]+/g, " ");
      const words = text.split(" ").filter((word) => word !== "");
      if (words.length >= 5) sentences.add(words.join(" "));
    }
  }
  const lines = [...sentences].map((sentence, i) => {
    const words = sentence.split(" ");
    return i % 2 === 0 ? `order\t${sentence}` : `shuffled\t${stream.shuffle(words).join(" ")}`;
  });
  const folder = await Deno.makeTempDir({ prefix: "brachio-bench-" });
  await Deno.writeTextFile(`${folder}/order.tsv`, `label\ttext\n${lines.join("\n")}\n`);
  return `${folder}/order.tsv`;
}

async function train(
  device: Device,
  parent: Checkpoint,
  name: string,
  settings: Record<string, unknown>,
): Promise<Outcome> {
  const config = finetuneSchema.parse(settings);
  const tokenizer = loadTokenizer(await parent.text("tokenizer.json"))
    .withSpecialTokens(TASK_TOKENS);
  const shape = configFromJson(await parent.json("config.json"));
  const model = { ...shape, vocabSize: Math.max(shape.vocabSize, tokenizer.vocabSize) };
  const data = await loadFinetuneData(config, { tokenizer, maxTokens: model.contextLength });
  const state = await Finetuning.open({ device, config, model, data, parent, tokenizerFiles: {} });
  const startMs = performance.now();
  try {
    while (state.step < state.totalSteps) {
      await state.advance();
      state.stepper.take();
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    await state.stepper.drain();
    const { metrics, examples } = await state.evaluate();
    return { name, metrics, examples, seconds: (performance.now() - startMs) / 1000 };
  } finally {
    state.destroy();
  }
}

/** Claims, each with its numbers; nothing is thrown where one does not hold. */
async function* judgements(
  root: string,
  outcomes: ReadonlyMap<string, Outcome>,
  tasks: readonly string[],
  peers: boolean,
): AsyncGenerator<string> {
  for (const name of ["sst2", "rte", "stsb", "copa"]) {
    yield `${name}: ${describe(outcomes.get(name)!)}`;
  }
  if (peers) {
    const tfidf = await tfidfAccuracy(`${root}/sst2/train.tsv`, `${root}/sst2/dev.tsv`);
    if (typeof tfidf === "string") yield `TF-IDF and logistic regression: cannot: ${tfidf}`;
    else {
      const holds = outcomes.get("sst2")!.metrics.accuracy! >= tfidf - SST2_MARGIN;
      yield `sst2: TF-IDF and logistic regression reach ${tfidf.toFixed(4)}; ` +
        `within ${SST2_MARGIN} of it or above: ${holds ? "yes" : "NO"}`;
    }
  }
  for (const task of tasks) {
    const of = (variant: string) =>
      SEEDS.map((seed) => outcomes.get(`${task}, ${variant}, seed ${seed}`)!.metrics.accuracy!);
    const [base, ...others] = Object.keys(VARIANTS) as [string, ...string[]];
    yield `${task}, ${LABELS} labels, ${SEEDS.length} seeds, ${base}: accuracy ${spread(of(base))}`;
    for (const variant of others) {
      const { gain, standardErrors } = difference(of(base), of(variant));
      yield `${task}, ${variant}: accuracy ${spread(of(variant))}; ${base} gains ` +
        `${gain.toFixed(4)}, ${standardErrors.toFixed(1)} pooled standard errors`;
    }
  }
}

function describe({ metrics, examples }: Outcome): string {
  const parts = Object.entries(metrics).map(([name, value]) => {
    if (name !== "accuracy") return `${name} ${value.toFixed(4)}`;
    const [low, high] = wilson(value, examples);
    return `accuracy ${value.toFixed(4)} (95 %: ${low.toFixed(4)} to ${high.toFixed(4)})`;
  });
  return `${parts.join(", ")}, ${examples} examples`;
}

/** Mean and standard deviation. */
function moments(values: readonly number[]): { mean: number; variance: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, variance: squares / (values.length - 1) };
}

function spread(values: readonly number[]): string {
  const { mean, variance } = moments(values);
  return `${mean.toFixed(4)} ± ${Math.sqrt(variance).toFixed(4)}`;
}

/** By how much a is above b in the mean, and in units of the standard error of that difference. */
function difference(a: readonly number[], b: readonly number[]) {
  const [x, y] = [moments(a), moments(b)];
  const gain = x.mean - y.mean;
  const error = Math.sqrt(x.variance / a.length + y.variance / b.length);
  return { gain, standardErrors: gain / error };
}

async function tfidfAccuracy(trainFile: string, devFile: string): Promise<number | string> {
  try {
    const args = [fileURLToPath(PEER), trainFile, devFile];
    const { success, stdout, stderr } = await new Deno.Command("python3", { args }).output();
    if (success) return JSON.parse(new TextDecoder().decode(stdout)).accuracy;
    return new TextDecoder().decode(stderr).trim().split("\n").at(-1) ?? "it failed";
  } catch (error) {
    return (error as Error).message;
  }
}

/** Cases that an earlier bench has finished. */
async function finished(): Promise<Map<string, Outcome>> {
  const path = Deno.env.get("BRACHIO_BENCH_PART");
  const text = path === undefined ? "" : await Deno.readTextFile(path).catch(() => "");
  const outcomes = text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  return new Map(outcomes.map((outcome: Outcome) => [outcome.name, outcome]));
}

async function keep(outcome: Outcome): Promise<void> {
  const path = Deno.env.get("BRACHIO_BENCH_PART");
  if (path === undefined) return;
  await Deno.writeTextFile(path, JSON.stringify(outcome) + "\n", { append: true });
}

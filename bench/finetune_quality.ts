/**
 * What fine-tuning is worth: SST-2 beside TF-IDF with logistic regression, RTE, STS-B and COPA with
 * intervals, and the ablation of Radford et al. 2018 in miniature: tasks with 500 labels and five
 * seeds, with pre-training, without it, and without the auxiliary loss.
 *
 * It needs the data sets, in the folder `BRACHIO_BENCH_DATA`. The decoder that it starts from is
 * pre-trained first, as `finetune-quality` in the folder of all runs, unless `BRACHIO_BENCH_RUN` is
 * the folder of another run. All of it takes an hour on two CPU cores with nothing else to do. It
 * goes on where it was ended: the pre-training from its last checkpoint, and with
 * `BRACHIO_BENCH_PART`, a file of finished cases, the rest too. So the cases may be trained on one
 * machine and judged on another, which has scikit-learn.
 *
 * The decoder has read SST-2's training sentences, as text without labels, and none of its dev
 * file. How often SST-2's training file is gone through is chosen on a tenth of that file that is
 * held out; then three seeds train on all of it, and the dev file is read once for each.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { trainPretrain } from "../src/cli/train.ts";
import { TASK_TOKENS } from "../src/data/task_tokens.ts";
import type { Device } from "../src/gpu/device.ts";
import { eventLoopTurn } from "../src/gpu/event_loop.ts";
import { configFromJson } from "../src/model/config_json.ts";
import { exists } from "../src/run/atomic.ts";
import type { Checkpoint } from "../src/run/checkpoint.ts";
import { Run, runsRoot } from "../src/run/run_folder.ts";
import { loadTokenizer } from "../src/tokenizer/file.ts";
import { Finetuning } from "../src/train/finetune.ts";
import { finetuneSchema } from "../src/train/finetune_config.ts";
import { loadFinetuneData } from "../src/train/finetune_data.ts";
import { bootstrap, pearson, wilson } from "../src/train/metrics.ts";
import { taskMetrics } from "../src/train/task_metrics.ts";
import {
  allCases,
  type Case,
  caseName,
  chosenEpochs,
  LABELS,
  LEARNABLE,
  type Outcome,
  RECIPE,
  SEEDS,
  SENTIMENT,
  SST2_SEEDS,
  sst2Cases,
  VARIANTS,
} from "./finetune_cases.ts";
import { corpus } from "./finetune_tasks.ts";
import type { Bench, BenchContext, Row } from "./harness.ts";

const DATA = new URL("../../shared/data/", import.meta.url);
const PEER = new URL("./peers/tfidf.py", import.meta.url);
const RUN = "finetune-quality";
/** Of the pre-training: some eight times through the text, ten minutes on two CPU cores. */
const PRETRAIN = [
  ...["tokenizer=bpe", "vocabSize=4096", "model.contextLength=64"],
  ...["model.layers=4", "model.channels=128", "model.heads=4"],
  ...["batchRows=16", "lr=0.001", "minLr=0.0001", "warmupSteps=100", "beta2=0.99", "dropout=0.1"],
  ...["sampleTokens=0", "evalEvery=500", "saveEvery=250", "keep=1"],
];
const PRETRAIN_STEPS = 3000;
/** Points of accuracy that SST-2 may lie below TF-IDF. */
const SST2_MARGIN = 0.02;
/** `./brachio bench finetune_quality` */
export const bench: Bench = {
  name: "finetune_quality",
  summary: "SST-2 beside TF-IDF, and the gain of pre-training with 500 labels and five seeds",
  run: runAll,
};

async function runAll({ device, quick, peers }: BenchContext) {
  const root = Deno.env.get("BRACHIO_BENCH_DATA") ?? fileURLToPath(DATA);
  if (!await exists(join(root, "sst2"))) {
    return {
      rows: [],
      notes: [`not run: BRACHIO_BENCH_DATA is to have the data; ${root} has not`],
    };
  }
  const folder = await Deno.makeTempDir({ prefix: "brachio-bench-" });
  try {
    const { cases, sst2 } = await allCases(root, folder);
    const outcomes = await finished();
    let parent: Checkpoint | undefined;
    const trainAll = async (wanted: readonly Case[]): Promise<boolean> => {
      for (const { name, settings } of wanted) {
        if (outcomes.has(name)) continue;
        parent ??= await pretrained(device, root, quick ? folder : undefined);
        if (parent === undefined) return false;
        const outcome = await train(device, parent, name, { ...RECIPE, ...settings });
        outcomes.set(name, outcome);
        await keep(outcome);
        console.log(`${name}: ${describe(outcome)}`);
      }
      return true;
    };
    // What SST-2's recipe is chosen by comes first, then SST-2, then all that is left.
    const choices = cases.filter(({ name }) => name.startsWith("sst2"));
    const isDone = quick
      ? await trainAll(cases.slice(-2))
      : await trainAll(choices) && await trainAll(sst2Cases(sst2, outcomes)) &&
        await trainAll(cases);
    if (!isDone) {
      return { rows: [], notes: ["not finished: the same command goes on with the pre-training"] };
    }
    if (quick) return { rows: [], notes: ["--quick trains two cases and compares nothing"] };
    const notes = await Array.fromAsync(judgements(root, outcomes, peers));
    return { rows: [...wholeRows(outcomes), ...ablationRows(outcomes)], notes };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * The decoder to start from; undefined where its pre-training was interrupted.
 *
 * @param scratch a folder for a run that is only to be seen to work
 */
async function pretrained(
  device: Device,
  root: string,
  scratch: string | undefined,
): Promise<Checkpoint | undefined> {
  const folder = Deno.env.get("BRACHIO_BENCH_RUN");
  if (folder !== undefined) {
    return await (await Run.open(dirname(folder), basename(folder))).checkpoint();
  }
  const runs = scratch ?? runsRoot();
  const steps = scratch === undefined ? PRETRAIN_STEPS : 10;
  const isThere = await exists(join(runs, RUN, "run.json"));
  const isDone = isThere && (await (await Run.open(runs, RUN)).steps()).includes(steps);
  if (!isDone) {
    await Deno.mkdir(runs, { recursive: true });
    const text = join(runs, `${RUN}.txt`);
    await Deno.writeTextFile(text, await corpus(root));
    const begun = { name: RUN, data: [text], set: [...PRETRAIN, `steps=${steps}`] };
    const status = await trainPretrain({
      ...(isThere ? { resume: RUN } : begun),
      runs,
      subgroups: device.lanes > 0,
      f16: false,
    });
    if (status !== 0) return undefined;
  }
  return await (await Run.open(runs, RUN)).checkpoint(steps);
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
      await eventLoopTurn();
    }
    await state.stepper.drain();
    const { predicted } = await state.predict();
    const seconds = (performance.now() - startMs) / 1000;
    const labels = data.dev.map(({ label }) => label);
    const metrics = taskMetrics(predicted, labels, { ...data.spec, classes: data.classes });
    const interval = metrics.accuracy === undefined
      ? bootstrap(pearson, predicted, labels)
      : wilson(metrics.accuracy, labels.length);
    const adapter = device.info.description || device.info.vendor;
    return { name, metrics, interval, examples: labels.length, seconds, adapter };
  } finally {
    state.destroy();
  }
}

const WHOLE = [...SST2_SEEDS.map((seed) => `sst2, seed ${seed}`), "rte", "stsb", "copa"];

function wholeRows(outcomes: ReadonlyMap<string, Outcome>): Row[] {
  return WHOLE.map((name) => {
    const { seconds, metrics, interval, examples } = outcomes.get(name)!;
    const all = Object.entries(metrics).map(([metric, value]) => [metric, value.toFixed(4)]);
    return row(name, seconds, {
      ...Object.fromEntries(all),
      "95 %": interval.map((end) => end.toFixed(4)).join("–"),
      examples,
    });
  });
}

function ablationRows(outcomes: ReadonlyMap<string, Outcome>): Row[] {
  return [...LEARNABLE, SENTIMENT].flatMap((task) => {
    const of = (variant: string) =>
      SEEDS.map((seed) => outcomes.get(caseName(task, variant, seed))!);
    const values = (variant: string) => of(variant).map(({ metrics }) => metrics.accuracy!);
    const [base] = Object.keys(VARIANTS) as [string];
    return Object.keys(VARIANTS).map((variant) => {
      const { gain, standardErrors } = difference(values(base), values(variant));
      const seconds = of(variant).reduce((sum, outcome) => sum + outcome.seconds, 0);
      return row(`${task}, ${LABELS} labels, ${variant}`, seconds / SEEDS.length, {
        accuracy: moments(values(variant)).mean.toFixed(4),
        "±": Math.sqrt(moments(values(variant)).variance).toFixed(4),
        ...(variant === base ? {} : {
          [`gain of ${base}`]: gain.toFixed(4),
          "standard errors": standardErrors.toFixed(1),
        }),
        examples: of(variant)[0]!.examples,
      });
    });
  });
}

function row(name: string, seconds: number, extra: Row["extra"] & object): Row {
  const ms = 1000 * seconds;
  return { name, timing: { ms, lowMs: ms, highMs: ms, samples: 1 }, errorShare: 0, extra };
}

/** Claims, each with its numbers; nothing is thrown where one does not hold. */
async function* judgements(
  root: string,
  outcomes: ReadonlyMap<string, Outcome>,
  peers: boolean,
): AsyncGenerator<string> {
  yield `trained on ${
    [...new Set([...outcomes.values()].map(({ adapter }) => adapter))].join(", ")
  }`;
  for (const name of WHOLE) yield `${name}: ${describe(outcomes.get(name)!)}`;
  const sst2 = moments(
    SST2_SEEDS.map((seed) => outcomes.get(`sst2, seed ${seed}`)!.metrics.accuracy!),
  );
  yield `sst2: ${chosenEpochs(outcomes)} epochs, chosen on a tenth of the training file; ` +
    `${sst2.mean.toFixed(4)} ± ${
      Math.sqrt(sst2.variance).toFixed(4)
    } over ${SST2_SEEDS.length} seeds`;
  if (peers) {
    const tfidf = await tfidfAccuracy(`${root}/sst2/train.tsv`, `${root}/sst2/dev.tsv`);
    if (typeof tfidf === "string") yield `TF-IDF and logistic regression: cannot: ${tfidf}`;
    else {
      const holds = sst2.mean >= tfidf - SST2_MARGIN;
      yield `sst2: TF-IDF and logistic regression reach ${tfidf.toFixed(4)}; ` +
        `within ${SST2_MARGIN} of it or above: ${holds ? "yes" : "NO"}`;
    }
  }
  for (const task of LEARNABLE) {
    const of = (variant: string) =>
      SEEDS.map((seed) => outcomes.get(caseName(task, variant, seed))!.metrics.accuracy!);
    const { gain, standardErrors } = difference(of("pre-trained"), of("not pre-trained"));
    yield `${task}: pre-training gains ${gain.toFixed(4)}, ${standardErrors.toFixed(1)} pooled ` +
      `standard errors; 2 or more: ${standardErrors >= 2 ? "yes" : "NO"}`;
  }
}

function describe({ metrics, interval, examples }: Outcome): string {
  const parts = Object.entries(metrics).map(([name, value], i) => {
    const [low, high] = interval;
    const range = i === 0 ? ` (95 %: ${low.toFixed(4)} to ${high.toFixed(4)})` : "";
    return `${name} ${value.toFixed(4)}${range}`;
  });
  return `${parts.join(", ")}, ${examples} examples`;
}

/** Mean and variance. */
function moments(values: readonly number[]): { mean: number; variance: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, variance: squares / (values.length - 1) };
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

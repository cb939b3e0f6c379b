/**
 * `brachio train finetune`: fine-tunes a run's decoder on examples of a task.
 *
 * Whatever can be wrong with the command or its data is found before anything is written. It ends
 * with status 0 when the training is finished, 130 when it was interrupted and can go on, and 2 when
 * the user can cure what is wrong.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { CannotError, orCannot } from "../config/cannot.ts";
import { loadConfig } from "../config/config.ts";
import { TASK_TOKENS } from "../data/task_tokens.ts";
import { measureCeilings } from "../gpu/ceiling.ts";
import { Device } from "../gpu/device.ts";
import type { ModelConfig } from "../model/config.ts";
import { configFromJson } from "../model/config_json.ts";
import { forwardFlops } from "../model/decoder.ts";
import { parameterCount } from "../model/parameters.ts";
import { exists } from "../run/atomic.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import {
  checkRunName,
  freeRunName,
  newestRun,
  Run,
  type RunInfo,
  runsRoot,
  RunWriter,
} from "../run/run_folder.ts";
import { loadTokenizer } from "../tokenizer/file.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import {
  finetune,
  type FinetuneEvent,
  Finetuning,
  type TaskEvaluation,
} from "../train/finetune.ts";
import {
  checkFinetuneConfig,
  type FinetuneConfig,
  finetunePreset,
  finetuneSchema,
  fixedFinetuneDifferences,
} from "../train/finetune_config.ts";
import { type FinetuneData, loadFinetuneData, type TaskFile } from "../train/finetune_data.ts";
import { tokenizerFiles } from "../train/pretrain_data.ts";
import { checkSameBits, pretrainVariants, takeBack } from "../train/pretrain_run.ts";
import { UsageError } from "./errors.ts";
import { Progress } from "./progress.ts";
import { checkMemory, report, stopOnSignals, usage } from "./train.ts";

/** Options of `brachio train finetune`, as the command line gives them. */
export interface FinetuneCommand {
  /** What an example is made of. */
  task?: string;
  /** Columns and labels of known data. */
  preset?: string;
  /** The file to train on. */
  data?: string;
  /** The file to evaluate on. */
  dev?: string;
  /** The run whose decoder is fine-tuned; else the newest. */
  from?: string;
  /** Which of its checkpoints. */
  checkpoint: number | "current" | "last" | "best";
  /** Leaves bad rows out and lists them. */
  skipBad?: boolean;
  /** Passes over the data. */
  epochs?: number;
  /** A JSONC file of settings. */
  config?: string;
  /** Settings over the file and the preset, as `a.b=c`. */
  set?: string[];
  /** Name of the new run. */
  name?: string;
  /** Folder of all runs. */
  runs?: string;
  /** Run to go on with. */
  resume?: string;
  /** False: without the subgroups feature. */
  subgroups: boolean;
  /** False: without the shader-f16 feature. */
  f16: boolean;
}

/** Bad rows that are listed by name; the others are counted. */
const MOST_LISTED = 10;

/** Fine-tunes to the end, or until Ctrl-C, and returns the exit status. */
export async function trainFinetune(options: FinetuneCommand): Promise<number> {
  using cleanup = new DisposableStack();
  const root = runsRoot(options.runs);
  const past = await openPast(root, options);
  if (past) cleanup.defer(() => past.close());
  const config = await resolveConfig(options, past);
  const isSaved = past !== undefined && (await past.steps()).length > 0;
  const checkpoint = isSaved ? await past.checkpoint("last") : undefined;
  const parent = await openParent(root, options, past);
  const { model, tokenizer } = await grown(checkpoint ?? parent.checkpoint);
  const maxTokens = Math.min(config.maxTokens ?? model.contextLength, model.contextLength);
  const data = await usage(() => loadFinetuneData(config, { tokenizer, maxTokens }));
  const name = past?.name ??
    await orCannot(`make a run in ${root}`, "want a folder", () => newName(root, options));

  const device = await Device.open({ subgroups: options.subgroups, f16: options.f16 });
  cleanup.defer(() => device.close());
  const info = runInfo(device, config, data, parent);
  if (past) {
    checkSameBits(past, info);
    checkSameFiles(past, info);
  }
  checkMemory(device, model);
  const state = await usage(() =>
    Finetuning.open({
      device,
      config,
      model,
      data,
      tokenizerFiles: tokenizerFiles(tokenizer, model),
      padId: tokenizer.specialTokens.get("<|pad|>"),
      parent: parent.checkpoint,
      checkpoint,
    })
  );
  cleanup.defer(() => state.destroy());
  describe(join(root, name), parent.checkpoint?.path, state);

  cleanup.defer(stopOnSignals(state));
  const run = past ?? await RunWriter.create(root, name, info);
  if (past) await takeBack(past, checkpoint, config);
  else cleanup.defer(() => run.close());
  return await drive(state, run);
}

/** Runs the stage, writing metrics, reports and the progress line. */
async function drive(state: Finetuning, run: RunWriter): Promise<number> {
  const { device, model, data } = state.options;
  const { fmaGFLOPs } = await measureCeilings(device, { sampleMs: 30, copyBytes: 1 << 20 });
  const lengths = data.train.map(({ length }) => length);
  const T = Math.ceil(lengths.reduce((sum, length) => sum + length, 0) / lengths.length);
  const progress = new Progress({
    totalSteps: state.totalSteps,
    // A backward costs twice its forward.
    flopsPerToken: 3 * forwardFlops(model, 1, T) / T,
    ceilingFlops: fmaGFLOPs * 1e9,
  });
  for await (const event of finetune(state, run)) {
    logEvent(run, event, progress);
    if (event.kind === "step") continue;
    if (event.kind === "evaluation") progress.line(evaluationLine(event));
    else {
      progress.line(`step ${event.step}: saved ${join(run.path, "checkpoints", `${event.step}`)}`);
    }
    if (event.step > 0) await report(run, progress);
  }
  if (state.step >= state.totalSteps) {
    await report(run, progress);
    progress.line(`finished ${state.step} steps: ${join(run.path, "report.html")}`);
    return 0;
  }
  progress.line(
    `stopped after step ${state.step}; go on with: ./brachio train finetune --resume ${run.name}` +
      (run.root === runsRoot() ? "" : ` --runs ${run.root}`),
  );
  return 130;
}

function logEvent(run: RunWriter, event: FinetuneEvent, progress: Progress): void {
  if (event.kind === "step") {
    run.log({
      step: event.step + 1,
      "train/loss": event.loss,
      "train/task_loss": event.taskLoss,
      ...(Number.isNaN(event.lmLoss) ? {} : { "train/lm_loss": event.lmLoss }),
      lr: event.lr,
      grad_norm: event.gradNorm,
      tokens_per_second: Math.round(progress.step(event)),
    });
  } else if (event.kind === "evaluation") {
    const metrics = Object.entries(event.metrics).map(([name, value]) => [`val/${name}`, value]);
    run.log({ step: event.step, "val/loss": event.loss, ...Object.fromEntries(metrics) });
  }
}

/** Loss and metrics in words. */
export function evaluationLine({ step, loss, metrics, examples }: TaskEvaluation): string {
  const all = Object.entries(metrics).map(([name, value]) => `${name} ${value.toFixed(4)}`);
  return `step ${step}: validation loss ${loss.toFixed(4)}, ${
    all.join(", ")
  } (${examples} examples)`;
}

/** The run to go on with, if any, held against other writers. */
async function openPast(root: string, options: FinetuneCommand): Promise<RunWriter | undefined> {
  if (options.resume === undefined) return undefined;
  for (const flag of ["task", "data", "dev", "from", "preset", "config", "name"] as const) {
    if (options[flag] === undefined) continue;
    throw new UsageError(`--${flag} cannot go with --resume: the run has its own`);
  }
  const run = await RunWriter.open(root, options.resume);
  if (run.info.stage === "finetune") return run;
  run.close();
  const state = `its stage is ${run.info.stage}`;
  throw new CannotError(`go on with run "${run.name}"`, "want a run of fine-tuning", state);
}

async function resolveConfig(
  options: FinetuneCommand,
  past: RunWriter | undefined,
): Promise<FinetuneConfig> {
  const { preset, data, dev, task, skipBad, epochs } = options;
  const settings = Object.entries({ task, epochs }).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value}`]
  );
  const files = Object.entries({ data, dev }).flatMap(([name, path]) =>
    path === undefined ? [] : [`${name}=${JSON.stringify(resolve(path))}`]
  );
  const config = await loadConfig(finetuneSchema, {
    base: past?.info.config ??
      (preset === undefined ? {} : await usage(() => finetunePreset(preset))),
    file: options.config,
    set: [...options.set ?? [], ...settings, ...files, ...(skipBad ? ["skipBad=true"] : [])],
  });
  await usage(() => checkFinetuneConfig(config));
  if (!past) return config;
  const changed = fixedFinetuneDifferences(finetuneSchema.parse(past.info.config), config);
  if (changed.length === 0) return config;
  throw new CannotError(
    `go on with run "${past.name}"`,
    "want the task, the data and the settings that it began with",
    `another ${changed.join(", ")}`,
  );
}

/** Refuses where a file is another one now, the one to evaluate on too. */
function checkSameFiles({ name, info }: RunWriter, now: RunInfo): void {
  const other = info.data.find(({ sha256 }, i) => sha256 !== now.data[i]?.sha256);
  if (!other) return;
  const want = "want the data it began with";
  throw new CannotError(`go on with run "${name}"`, want, `${other.name} has changed`);
}

/** Where a run comes from; the checkpoint is there unless another run's is gone on from. */
interface Parent {
  readonly checkpoint?: Checkpoint | undefined;
  readonly lineage: RunInfo["parent"];
}

async function openParent(
  root: string,
  options: FinetuneCommand,
  past: RunWriter | undefined,
): Promise<Parent> {
  if (past) {
    const { parent } = past.info;
    // A run without a checkpoint of its own begins anew from its parent.
    if ((await past.steps()).length > 0 || !parent) return { lineage: parent };
    const run = await Run.open(root, parent.run);
    return { checkpoint: await run.checkpoint(parent.step), lineage: parent };
  }
  const run = options.from === undefined
    ? await newestRun(root)
    : await Run.open(root, options.from);
  const checkpoint = await run.checkpoint(options.checkpoint);
  const weights = checkpoint.manifest.files["model.safetensors"]?.sha256;
  if (weights === undefined) {
    throw new CannotError(`start from ${checkpoint.path}`, "want model.safetensors", "it has none");
  }
  return { checkpoint, lineage: { run: run.name, step: checkpoint.step, weights } };
}

/** Model and tokenizer of a checkpoint, with the task's tokens. */
async function grown(
  checkpoint: Checkpoint | undefined,
): Promise<{ model: ModelConfig; tokenizer: Tokenizer }> {
  if (!checkpoint) {
    throw new CannotError("fine-tune", "want a checkpoint to start from", "the run has no parent");
  }
  const model = configFromJson(await checkpoint.json("config.json"));
  const tokenizer = loadTokenizer(await checkpoint.text("tokenizer.json"))
    .withSpecialTokens(TASK_TOKENS);
  return {
    model: { ...model, vocabSize: Math.max(model.vocabSize, tokenizer.vocabSize) },
    tokenizer,
  };
}

function runInfo(
  device: Device,
  config: FinetuneConfig,
  data: FinetuneData,
  { lineage }: Parent,
): RunInfo {
  const { description, vendor, architecture } = device.info;
  const tokens = [...data.train, ...data.dev]
    .reduce((sum, { copies }) => sum + copies.reduce((all, { length }) => all + length, 0), 0);
  return {
    version: 1,
    stage: "finetune",
    createdAt: new Date().toISOString(),
    parent: lineage,
    data: data.files.map(({ path, sha256 }, i) => ({
      name: path,
      sha256,
      tokens: i === 0 ? tokens : 0,
    })),
    config: JSON.parse(JSON.stringify(config)),
    variants: pretrainVariants(device),
    versions: { deno: Deno.version.deno, v8: Deno.version.v8 },
    adapter: { description, vendor, architecture },
  };
}

async function newName(root: string, { name, preset, task }: FinetuneCommand): Promise<string> {
  if (name === undefined) return await freeRunName(root, preset ?? task ?? "finetune");
  const act = `make run "${name}"`;
  checkRunName(name, act);
  if (!await exists(join(root, name, "run.json"))) return name;
  const state = `${join(root, name)} exists; --resume ${name} goes on with it`;
  throw new CannotError(act, "want a name that is free", state);
}

function describe(path: string, parent: string | undefined, state: Finetuning): void {
  const { model, data, config, device } = state.options;
  const from = state.step > 0
    ? `goes on after step ${state.step}`
    : config.init === "random"
    ? "begins with random weights"
    : `begins with ${parent}`;
  const cut = [...data.train, ...data.dev].filter(({ truncated }) => truncated).length;
  console.log(
    `${path}: ${config.task}, ${from}: ${parameterCount(model).toLocaleString("en")} parameters, ` +
      `${data.train.length} examples to train on, ${data.dev.length} to evaluate on` +
      `${cut > 0 ? `, ${cut} cut to fit` : ""}, labels ${data.labels.join(", ")}, ` +
      `on ${device.info.description}`,
  );
  for (const file of data.files) sayBad(file);
}

/** Lists the rows that were left out. */
export function sayBad({ path, bad }: Pick<TaskFile, "path" | "bad">): void {
  if (bad.length === 0) return;
  console.log(`left out ${bad.length} bad rows of ${path}:`);
  for (const { line, column, want, state } of bad.slice(0, MOST_LISTED)) {
    console.log(
      `  line ${line}${column === undefined ? "" : `, column "${column}"`}: ${want}: ${state}`,
    );
  }
  if (bad.length > MOST_LISTED) console.log(`  and ${bad.length - MOST_LISTED} more`);
}

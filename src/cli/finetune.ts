/**
 * `brachio train finetune`: fine-tunes a run's decoder on examples of a task.
 *
 * Whatever can be wrong with the command or its data is found before anything is written. It ends
 * with status 0 when the training is finished, 130 when it was interrupted and can go on, and 2
 * when the user can cure what is wrong.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { CannotError, orCannot } from "../config/cannot.ts";
import { loadConfig } from "../config/config.ts";
import { TASK_TOKENS } from "../data/task_tokens.ts";
import type { Device } from "../gpu/device.ts";
import { forwardFlops } from "../model/decoder.ts";
import { parameterCount } from "../model/parameters.ts";
import { type RunInfo, runsRoot, RunWriter } from "../run/run_folder.ts";
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
import { type FinetuneData, loadFinetuneData } from "../train/finetune_data.ts";
import { tokenizerFiles } from "../train/pretrain_data.ts";
import { checkSameBits, takeBack } from "../train/pretrain_run.ts";
import { stageInfo } from "../train/stage_info.ts";
import { type HostedCommand, say, type StageHost, stageHost } from "./host.ts";
import { Progress } from "./progress.ts";
import { checkSameFiles, grown, leftOutLines, newName, openParent, openPast } from "./stage_run.ts";
import { checkMemory, report, stopOnSignals, usage } from "./train.ts";

/** Options of `brachio train finetune`, as the command line gives them. */
export interface FinetuneCommand extends HostedCommand {
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
}

/** What a run has of its own, and cannot be given again. */
const OWN = ["task", "data", "dev", "from", "preset", "config", "name"] as const;

/** Fine-tunes to the end, or until Ctrl-C, and returns the exit status. */
export async function trainFinetune(options: FinetuneCommand): Promise<number> {
  using cleanup = new DisposableStack();
  const root = runsRoot(options.runs);
  const past = await openPast(root, options, {
    stage: "finetune",
    words: "fine-tuning",
    own: OWN,
  });
  if (past) cleanup.defer(() => past.close());
  const config = await resolveConfig(options, past);
  const isSaved = past !== undefined && (await past.steps()).length > 0;
  const checkpoint = isSaved ? await past.checkpoint("last") : undefined;
  const parent = await openParent(root, options, past);
  const { model, tokenizer } = await grown(
    "fine-tune",
    checkpoint ?? parent.checkpoint,
    TASK_TOKENS,
  );
  const maxTokens = Math.min(config.maxTokens ?? model.contextLength, model.contextLength);
  const data = await usage(() => loadFinetuneData(config, { tokenizer, maxTokens }));
  const name = past?.name ??
    await orCannot(
      `make a run in ${root}`,
      "want a folder",
      () => newName(root, options.preset ?? options.task ?? "finetune", options.name),
    );

  const host = await stageHost(options, cleanup);
  const { device } = host;
  const info = runInfo(device, config, data, parent.lineage);
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
  describe(host, join(root, name), parent.checkpoint?.path, state);

  cleanup.defer(stopOnSignals(state));
  const run = past ?? await RunWriter.create(root, name, info);
  if (past) await takeBack(past, checkpoint, config);
  else cleanup.defer(() => run.close());
  return await drive(state, run, host);
}

/** Runs the stage, writing metrics, reports and the progress line. */
async function drive(state: Finetuning, run: RunWriter, host: StageHost): Promise<number> {
  const { model, data } = state.options;
  const lengths = data.train.map(({ length }) => length);
  const T = Math.ceil(lengths.reduce((sum, length) => sum + length, 0) / lengths.length);
  const progress = new Progress({
    totalSteps: state.totalSteps,
    // A backward costs twice its forward.
    flopsPerToken: 3 * forwardFlops(model, 1, T) / T,
    ceilingFlops: host.ceilingFlops,
    sink: host.sink,
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
    `stopped after step ${state.step}; go on with: ` +
      (host.goOn ?? `./brachio train finetune --resume ${run.name}` +
          (run.root === runsRoot() ? "" : ` --runs ${run.root}`)),
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

function runInfo(
  device: Device,
  config: FinetuneConfig,
  { train, dev, files }: FinetuneData,
  parent: RunInfo["parent"],
): RunInfo {
  const tokens = [...train, ...dev]
    .reduce((sum, { copies }) => sum + copies.reduce((all, { length }) => all + length, 0), 0);
  const data = files.map(({ path, sha256 }, i) => ({
    name: path,
    sha256,
    tokens: i === 0 ? tokens : 0,
  }));
  return stageInfo("finetune", device, { config, parent, data });
}

function describe(
  host: StageHost,
  path: string,
  parent: string | undefined,
  state: Finetuning,
): void {
  const { model, data, config, device } = state.options;
  const from = state.step > 0
    ? `goes on after step ${state.step}`
    : config.init === "random"
    ? "begins with random weights"
    : `begins with ${parent}`;
  const cut = [...data.train, ...data.dev].filter(({ truncated }) => truncated).length;
  say(
    host,
    `${path}: ${config.task}, ${from}: ${parameterCount(model).toLocaleString("en")} parameters, ` +
      `${data.train.length} examples to train on, ${data.dev.length} to evaluate on` +
      `${cut > 0 ? `, ${cut} cut to fit` : ""}, labels ${data.labels.join(", ")}, ` +
      `on ${device.info.description}`,
  );
  for (const line of data.files.flatMap((file) => leftOutLines(file))) say(host, line);
}

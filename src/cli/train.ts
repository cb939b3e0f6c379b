/**
 * `brachio train pretrain`: pre-trains a GPT on text, from its tokenizer to its last checkpoint.
 *
 * Whatever can be wrong with the command is found before anything but the cache of prepared data is
 * written. It ends with status 0 when the training is finished, 130 when it was interrupted and can
 * go on, and 2 when the user can cure what is wrong: a loss that is no number, too.
 *
 * @module
 */
import { join } from "node:path";
import { CannotError, orCannot } from "../config/cannot.ts";
import { loadConfig } from "../config/config.ts";
import type { PreparedData } from "../data/prepare.ts";
import { findSources } from "../data/sources.ts";
import { measureCeilings } from "../gpu/ceiling.ts";
import type { Device } from "../gpu/device.ts";
import { formatProfile, profile } from "../gpu/profile.ts";
import type { ModelConfig } from "../model/config.ts";
import { forwardFlops } from "../model/decoder.ts";
import { parameterCount } from "../model/parameters.ts";
import { type RunInfo, runsRoot, RunWriter } from "../run/run_folder.ts";
import { addSample } from "../run/samples.ts";
import { loadTokenizer } from "../tokenizer/file.ts";
import { pretrain, Pretraining } from "../train/pretrain.ts";
import {
  checkPretrainConfig,
  fixedDifferences,
  presetValues,
  type PretrainConfig,
  pretrainSchema,
  resolveModel,
} from "../train/pretrain_config.ts";
import {
  makeTokenizer,
  prepare,
  sourcesOf,
  tokenizerFiles,
  withFullPaths,
} from "../train/pretrain_data.ts";
import { checkSameBits, logEvent, takeBack } from "../train/pretrain_run.ts";
import { UsageError } from "./errors.ts";
import { type HostedCommand, say, type StageHost, stageHost } from "./host.ts";
import { Progress } from "./progress.ts";
import { stageInfo } from "../train/stage_info.ts";
import { newName, openPast } from "./stage_run.ts";

/** Options of `brachio train pretrain`, as the command line gives them. */
export interface PretrainCommand extends HostedCommand {
  /** Files, folders and patterns. */
  data?: string[];
  /** A published size or a recipe. */
  preset?: string;
  /** A JSONC file of settings. */
  config?: string;
  /** Settings over the file and the preset, as `a.b=c`. */
  set?: string[];
  /** Updates. */
  steps?: number;
  /** Evaluates over the whole validation split each time. */
  evalWhole?: boolean;
  /** Name of the new run. */
  name?: string;
  /** Folder of all runs. */
  runs?: string;
  /** Run to go on with. */
  resume?: string;
  /** Shows where the time goes instead of training. */
  profile?: boolean;
}

/** What a run has of its own, and cannot be given again. */
const OWN = ["data", "preset", "config", "name"] as const;

/** A second Ctrl-C counts after so long: some terminals and launchers deliver one twice. */
const SECOND_SIGNAL_MS = 300;

/** Trains to the end, or until Ctrl-C, and returns the exit status. */
export async function trainPretrain(options: PretrainCommand): Promise<number> {
  using cleanup = new DisposableStack();
  const root = runsRoot(options.runs);
  const past = await openPast(root, { ...options, checkpoint: "last" }, {
    stage: "pretrain",
    words: "pre-training",
    own: OWN,
  });
  if (past) cleanup.defer(() => past.close());
  const config = await resolveConfig(options, past);
  const name = past?.name ??
    await orCannot(
      `make a run in ${root}`,
      "want a folder",
      () => newName(root, options.preset ?? "pretrain", options.name),
    );
  const isSaved = past !== undefined && (await past.steps()).length > 0;
  const checkpoint = isSaved ? await past.checkpoint("last") : undefined;
  await findSources(sourcesOf(config));

  const host = await stageHost(options, cleanup);
  const { device } = host;
  const tokenizer = checkpoint
    ? loadTokenizer(await checkpoint.text("tokenizer.json"))
    : await makeTokenizer(config);
  const data = await prepare(config, tokenizer, join(root, ".data"));
  cleanup.defer(() => data.close());
  const model = resolveModel(config, tokenizer.vocabSize);
  const info = runInfo(device, config, data);
  if (past) checkSameBits(past, info);
  checkMemory(device, model);
  const files = tokenizerFiles(tokenizer, model);
  const state = await usage(() =>
    Pretraining.open({ device, config, model, data, tokenizer, tokenizerFiles: files, checkpoint })
  );
  cleanup.defer(() => state.destroy());
  describe(host, options.profile ? "profile" : join(root, name), state);
  if (options.profile) return await printProfile(device, state);

  cleanup.defer(stopOnSignals(state));
  const run = past ?? await RunWriter.create(root, name, info);
  if (past) {
    await takeBack(past, checkpoint, withFullPaths(config));
  } else {
    cleanup.defer(() => run.close());
  }
  return await drive(state, run, host);
}

/** Runs the stage, writing metrics, reports and the progress line. */
async function drive(state: Pretraining, run: RunWriter, host: StageHost): Promise<number> {
  const { config, model } = state.options;
  const T = config.sequenceLength ?? model.contextLength;
  const progress = new Progress({
    totalSteps: config.steps,
    // A backward costs twice its forward.
    flopsPerToken: 3 * forwardFlops(model, 1, T) / T,
    ceilingFlops: host.ceilingFlops,
    sink: host.sink,
  });
  for await (const event of pretrain(state, run)) {
    if (event.kind === "step") {
      logEvent(run, event, progress.step(event));
      continue;
    }
    if (event.kind === "evaluation") {
      progress.line(
        `step ${event.step}: validation loss ${event.loss.toFixed(4)}, perplexity ` +
          `${event.perplexity.toFixed(2)}, ${event.bitsPerByte.toFixed(3)} bits a byte ` +
          `(${event.wholeSplit ? "whole split" : `${event.tokens} tokens`})`,
      );
      logEvent(run, event);
    } else if (event.kind === "sample") {
      await addSample(run, event.step, event.text);
      progress.line(`step ${event.step}: writes ${firstLine(event.text)}`);
      continue;
    } else {
      progress.line(`step ${event.step}: saved ${join(run.path, "checkpoints", `${event.step}`)}`);
    }
    if (event.step > 0) await report(run, progress);
  }
  if (state.step >= config.steps) {
    await report(run, progress); // also where a crash came between the last checkpoint and its report
    progress.line(`finished ${state.step} steps: ${join(run.path, "report.html")}`);
    return 0;
  }
  progress.line(
    `stopped after step ${state.step}; go on with: ` +
      (host.goOn ?? `./brachio train pretrain --resume ${run.name}` +
          (run.root === runsRoot() ? "" : ` --runs ${run.root}`)),
  );
  return 130;
}

/** The beginning of a text, quoted. */
function firstLine(text: string): string {
  const line = text.trimStart().split("\n", 1)[0]!;
  const characters = [...line];
  return JSON.stringify(characters.length > 60 ? `${characters.slice(0, 59).join("")}…` : line);
}

/** Draws the run as it is now; training goes on without it where that fails. */
export async function report(run: RunWriter, progress: Progress): Promise<void> {
  try {
    const { writeReport } = await import("../run/report.ts");
    await writeReport(run);
  } catch (error) {
    progress.line(`no report: ${error instanceof Error ? error.message : error}`);
  }
}

/** Ctrl-C asks the stage to save and end; twice ends at once. @returns what stops listening */
export function stopOnSignals(state: { stopping: boolean }): () => void {
  let askedMs: number | undefined;
  const stop = () => {
    const nowMs = performance.now();
    if (askedMs === undefined) {
      askedMs = nowMs;
      state.stopping = true;
      const erase = Deno.stderr.isTerminal() ? "\r\x1b[2K" : "";
      console.error(`${erase}brachio: saving after this step; again to end without`);
    } else if (nowMs - askedMs > SECOND_SIGNAL_MS) Deno.exit(130);
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) Deno.addSignalListener(signal, stop);
  return () => {
    for (const signal of signals) Deno.removeSignalListener(signal, stop);
  };
}

async function resolveConfig(
  options: PretrainCommand,
  past: RunWriter | undefined,
): Promise<PretrainConfig> {
  const { preset } = options;
  const flags = [...options.set ?? []];
  if (options.steps !== undefined) flags.push(`steps=${options.steps}`);
  if (options.evalWhole) flags.push("evalBatches=0");
  const config = await loadConfig(pretrainSchema, {
    base: past?.info.config ??
      (preset === undefined ? {} : await usage(() => presetValues(preset))),
    file: options.config,
    set: flags,
  });
  await usage(() => checkPretrainConfig(config));
  if (!past) return options.data ? { ...config, data: options.data } : config;
  const changed = fixedDifferences(pretrainSchema.parse(past.info.config), config);
  if (changed.length === 0) return config;
  throw new CannotError(
    `go on with run "${past.name}"`,
    "want the model, the data, their order and evaluation that it began with",
    `another ${changed.join(", ")}`,
  );
}

/** What a value that the user gave makes impossible is the user's to mend. */
export async function usage<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}

function runInfo(device: Device, config: PretrainConfig, data: PreparedData): RunInfo {
  return stageInfo("pretrain", device, {
    config: withFullPaths(config),
    parent: null,
    data: [{
      name: config.data.join(", "),
      sha256: data.info.sha256,
      tokens: data.train.count + data.val.count,
    }],
  });
}

/** An adapter of software takes what it needs from the machine, which may then end the process. */
export function checkMemory(
  { info }: Device,
  model: ModelConfig,
  { copies = 4, words = "weights, gradients and both moments" } = {},
): void {
  const isSoftware = /llvmpipe|swiftshader|basic render/i.test(info.description);
  const permission = { name: "sys", kind: "systemMemoryInfo" } as const;
  if (!isSoftware || Deno.permissions.querySync(permission).state !== "granted") return;
  const count = parameterCount(model);
  const needBytes = 4 * copies * count;
  const { available, free } = Deno.systemMemoryInfo();
  const haveBytes = Math.max(available, free);
  if (needBytes <= haveBytes) return;
  const show = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
  throw new CannotError(
    `train a model of ${count.toLocaleString("en")} parameters`,
    `want ${show(needBytes)} of memory for ${words}`,
    `${show(haveBytes)} are free`,
  );
}

function describe(host: StageHost, path: string, state: Pretraining): void {
  const { model, data } = state.options;
  const { layers, channels, heads, contextLength } = model;
  say(
    host,
    `${path}: ${state.step > 0 ? `goes on after step ${state.step}, ` : ""}` +
      `${parameterCount(model).toLocaleString("en")} parameters (${layers} layers, ` +
      `${channels} wide, ${heads} heads, context ${contextLength}, ${model.vocabSize} tokens), ` +
      `${
        data.train.count.toLocaleString("en")
      } tokens to train on, on ${host.device.info.description}`,
  );
}

/** One step, its time by kernel; nothing is saved. */
async function printProfile(device: Device, state: Pretraining): Promise<number> {
  const ceilings = await measureCeilings(device);
  await state.advance();
  await state.stepper.drain();
  for (const plan of state.stepper.plans) {
    if (!plan.items.some(({ kind }) => kind === "dispatch")) continue;
    console.log(`\n${plan.label}\n${formatProfile(await profile(plan, { ceilings }))}`);
  }
  return 0;
}

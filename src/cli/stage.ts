/**
 * What the commands of stages that train for epochs have in common: where a run comes from, what
 * must be as it was, and the loop's progress.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { CannotError, orCannot } from "../config/cannot.ts";
import type { RowFault } from "../data/tables.ts";
import { measureCeilings } from "../gpu/ceiling.ts";
import { Device } from "../gpu/device.ts";
import type { ModelConfig } from "../model/config.ts";
import { configFromJson } from "../model/config_json.ts";
import { forwardFlops } from "../model/decoder.ts";
import { DIALOGUE_TOKENS } from "../prompt/dialogue.ts";
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
  checkEpochConfig,
  type EpochConfig,
  fixedEpochDifferences,
} from "../train/epoch_config.ts";
import { type EpochEvaluation, type EpochStage, runEpochs } from "../train/epochs.ts";
import type { LengthResult, StepTag } from "../train/length_step.ts";
import { checkSameBits, pretrainVariants, takeBack } from "../train/pretrain_run.ts";
import type { DataFile } from "../train/sft_data.ts";
import { UsageError } from "./errors.ts";
import { Progress } from "./progress.ts";
import { checkMemory, report, stopOnSignals, usage } from "./train.ts";

/** Options of a stage's command, as the command line gives them. */
export interface StageCommand {
  /** The file to train on. */
  data?: string;
  /** The file to evaluate on. */
  dev?: string;
  /** The run to start from; else the newest. */
  from?: string;
  /** Which of its checkpoints. */
  checkpoint: number | "current" | "last" | "best";
  /** Leaves bad rows out and lists them. */
  skipBad?: boolean;
  /** Passes over the data. */
  epochs?: number;
  /** A JSONC file of settings. */
  config?: string;
  /** Settings over the file, as `a.b=c`. */
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

/** What is open while a stage is made. */
export interface StageParts<C extends EpochConfig> {
  /** Where it runs. */
  readonly device: Device;
  /** Of the stage. */
  readonly config: C;
  /** The decoder, with rows for the tokens of a dialogue. */
  readonly model: ModelConfig;
  /** With the tokens of a dialogue. */
  readonly tokenizer: Tokenizer;
  /** The checkpoint to start from, where one is. */
  readonly parent: Checkpoint | undefined;
  /** The checkpoint to go on from, where one is. */
  readonly checkpoint: Checkpoint | undefined;
}

/** Data of a stage, as far as its command has to know it. */
export interface StageData {
  /** Tokens of all rows. */
  readonly tokens: number;
  /** Of the rows to train on, on average. */
  readonly rowTokens: number;
  /** What was read; the first is what is trained on. */
  readonly files: readonly DataFile[];
  /** What else decides the weights, by SHA-256. */
  readonly sources?: readonly RunInfo["data"][number][];
  /** What it amounts to, in words. */
  readonly words: string;
  /** Gives files back. */
  close(): void;
}

/** Where settings come from; each overlays those before it. */
export interface SettingsSources {
  /** Of the run that is gone on with. */
  base?: Readonly<Record<string, unknown>> | undefined;
  /** A JSONC file. */
  file?: string | undefined;
  /** As `a.b=c`. */
  set?: readonly string[];
}

/** A stage, as its command runs it. */
export interface StageKind<
  C extends EpochConfig,
  D extends StageData,
  R extends LengthResult<StepTag>,
  E extends EpochEvaluation,
  S extends EpochStage<R, E> & { destroy(): void },
> {
  /** Name of command and stage. */
  readonly name: "sft" | "reward";
  /** Completes the settings of a run, or of a command. @throws {CannotError} As loadConfig. */
  resolve(sources: SettingsSources): Promise<C>;
  /** Checks what no single field can say. @throws {RangeError} When values do not fit. */
  check?(config: C): void;
  /** Reads the data. */
  load(
    config: C,
    options: { tokenizer: Tokenizer; maxTokens: number; cacheFolder: string },
  ): Promise<D>;
  /** Makes weights and moments. */
  open(parts: StageParts<C>, data: D): Promise<S>;
  /** What a step leaves in the metrics beside what all leave. */
  stepMetrics(result: R): Record<string, number>;
  /** What an evaluation leaves in the metrics, and says. */
  evaluation(event: E): { metrics: Record<string, number>; line: string };
}

/** Bad rows that are listed by name; the others are counted. */
const MOST_LISTED = 10;

/** Trains to the end, or until Ctrl-C, and returns the exit status. */
export async function trainStage<
  C extends EpochConfig,
  D extends StageData,
  R extends LengthResult<StepTag>,
  E extends EpochEvaluation,
  S extends EpochStage<R, E> & { destroy(): void },
>(kind: StageKind<C, D, R, E, S>, options: StageCommand): Promise<number> {
  using cleanup = new DisposableStack();
  const root = runsRoot(options.runs);
  const past = await openPast(root, kind.name, options);
  if (past) cleanup.defer(() => past.close());
  const config = await resolveConfig(kind, options, past);
  const isSaved = past !== undefined && (await past.steps()).length > 0;
  const checkpoint = isSaved ? await past.checkpoint("last") : undefined;
  const parent = await openParent(root, options, past);
  const { model, tokenizer } = await grown(kind.name, checkpoint ?? parent.checkpoint);
  const maxTokens = Math.min(config.maxTokens ?? model.contextLength, model.contextLength);
  const cacheFolder = join(root, ".data");
  const data = await usage(() => kind.load(config, { tokenizer, maxTokens, cacheFolder }));
  cleanup.defer(() => data.close());
  const name = past?.name ??
    await orCannot(`make a run in ${root}`, "want a folder", () => newName(root, kind, options));

  const device = await Device.open({ subgroups: options.subgroups, f16: options.f16 });
  cleanup.defer(() => device.close());
  const info = runInfo(kind.name, device, config, data, parent.lineage);
  if (past) {
    checkSameBits(past, info);
    checkSameFiles(past, info);
  }
  checkMemory(device, model);
  const state = await usage(() =>
    kind.open({ device, config, model, tokenizer, parent: parent.checkpoint, checkpoint }, data)
  );
  cleanup.defer(() => state.destroy());
  const from = state.step > 0 ? `goes on after step ${state.step}` : `begins with ${parent.name}`;
  console.log(`${join(root, name)}: ${from}: ${data.words}, on ${device.info.description}`);
  for (const file of data.files) sayLeftOut(file, maxTokens);

  cleanup.defer(stopOnSignals(state));
  const run = past ?? await RunWriter.create(root, name, info);
  if (past) await takeBack(past, checkpoint, config);
  else cleanup.defer(() => run.close());
  return await drive(kind, state, { run, device, model, rowTokens: data.rowTokens });
}

/** Runs the stage, writing metrics, reports and the progress line. */
async function drive<
  C extends EpochConfig,
  D extends StageData,
  R extends LengthResult<StepTag>,
  E extends EpochEvaluation,
  S extends EpochStage<R, E> & { destroy(): void },
>(
  kind: StageKind<C, D, R, E, S>,
  state: S,
  parts: { run: RunWriter; device: Device; model: ModelConfig; rowTokens: number },
): Promise<number> {
  const { run, device, model, rowTokens: T } = parts;
  const { fmaGFLOPs } = await measureCeilings(device, { sampleMs: 30, copyBytes: 1 << 20 });
  const progress = new Progress({
    totalSteps: state.plan.totalSteps,
    // A backward costs twice its forward.
    flopsPerToken: 3 * forwardFlops(model, 1, T) / T,
    ceilingFlops: fmaGFLOPs * 1e9,
  });
  for await (const event of runEpochs<R, E>(state, run)) {
    if (event.kind === "step") {
      const { step, loss, lr, gradNorm } = event;
      run.log({
        step: step + 1,
        "train/loss": loss,
        ...kind.stepMetrics(event),
        lr,
        grad_norm: gradNorm,
        tokens_per_second: Math.round(progress.step(event)),
      });
      continue;
    }
    if (event.kind === "evaluation") {
      const { metrics, line } = kind.evaluation(event);
      run.log({ step: event.step, "val/loss": event.loss, ...metrics });
      progress.line(`step ${event.step}: validation loss ${event.loss.toFixed(4)}, ${line}`);
    } else {
      progress.line(`step ${event.step}: saved ${join(run.path, "checkpoints", `${event.step}`)}`);
    }
    if (event.step > 0) await report(run, progress);
  }
  if (state.step >= state.plan.totalSteps) {
    await report(run, progress);
    progress.line(`finished ${state.step} steps: ${join(run.path, "report.html")}`);
    return 0;
  }
  progress.line(
    `stopped after step ${state.step}; go on with: ./brachio train ${kind.name} --resume ` +
      run.name + (run.root === runsRoot() ? "" : ` --runs ${run.root}`),
  );
  return 130;
}

/** The run to go on with, if any, held against other writers. */
async function openPast(
  root: string,
  stage: string,
  options: StageCommand,
): Promise<RunWriter | undefined> {
  if (options.resume === undefined) return undefined;
  for (const flag of ["data", "dev", "from", "config", "name"] as const) {
    if (options[flag] === undefined) continue;
    throw new UsageError(`--${flag} cannot go with --resume: the run has its own`);
  }
  const run = await RunWriter.open(root, options.resume);
  if (run.info.stage === stage) return run;
  run.close();
  const state = `its stage is ${run.info.stage}`;
  throw new CannotError(`go on with run "${run.name}"`, `want a run of ${stage}`, state);
}

async function resolveConfig<C extends EpochConfig>(
  kind: { resolve(sources: SettingsSources): Promise<C>; check?(config: C): void },
  { data, dev, skipBad, epochs, config: file, set = [] }: StageCommand,
  past: RunWriter | undefined,
): Promise<C> {
  const files = Object.entries({ data, dev }).flatMap(([name, path]) =>
    path === undefined ? [] : [`${name}=${JSON.stringify(resolve(path))}`]
  );
  const flags = [
    ...set,
    ...files,
    ...(epochs === undefined ? [] : [`epochs=${epochs}`]),
    ...(skipBad ? ["skipBad=true"] : []),
  ];
  const given = await kind.resolve({ base: past?.info.config, file, set: flags });
  // Paths in `run.json` mean the same from any folder.
  const config: C = {
    ...given,
    data: resolve(given.data),
    ...(given.dev === undefined ? {} : { dev: resolve(given.dev) }),
  };
  await usage(() => {
    checkEpochConfig(config);
    kind.check?.(config);
  });
  if (!past) return config;
  const began = await kind.resolve({ base: past.info.config });
  const changed = fixedEpochDifferences(began, config);
  if (changed.length === 0) return config;
  throw new CannotError(
    `go on with run "${past.name}"`,
    "want the data and the settings that it began with",
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
  readonly name: string;
}

async function openParent(
  root: string,
  options: StageCommand,
  past: RunWriter | undefined,
): Promise<Parent> {
  if (past) {
    const { parent } = past.info;
    const name = parent?.run ?? "random weights";
    // A run without a checkpoint of its own begins anew from its parent.
    if ((await past.steps()).length > 0 || !parent) return { lineage: parent, name };
    const run = await Run.open(root, parent.run);
    return { checkpoint: await run.checkpoint(parent.step), lineage: parent, name };
  }
  const run = options.from === undefined
    ? await newestRun(root)
    : await Run.open(root, options.from);
  const checkpoint = await run.checkpoint(options.checkpoint);
  const weights = checkpoint.manifest.files["model.safetensors"]?.sha256;
  if (weights === undefined) {
    throw new CannotError(`start from ${checkpoint.path}`, "want model.safetensors", "it has none");
  }
  const { name } = run;
  return { checkpoint, lineage: { run: name, step: checkpoint.step, weights }, name };
}

/** Model and tokenizer of a checkpoint, with the tokens of a dialogue. */
async function grown(
  stage: string,
  checkpoint: Checkpoint | undefined,
): Promise<{ model: ModelConfig; tokenizer: Tokenizer }> {
  if (!checkpoint) {
    throw new CannotError(`train ${stage}`, "want a checkpoint to start from", "there is none");
  }
  const model = configFromJson(await checkpoint.json("config.json"));
  const tokenizer = loadTokenizer(await checkpoint.text("tokenizer.json"))
    .withSpecialTokens(DIALOGUE_TOKENS);
  const vocabSize = Math.max(model.vocabSize, tokenizer.vocabSize);
  return { model: { ...model, vocabSize }, tokenizer };
}

function runInfo(
  stage: string,
  device: Device,
  config: EpochConfig,
  { files, tokens, sources = [] }: StageData,
  parent: RunInfo["parent"],
): RunInfo {
  const { description, vendor, architecture } = device.info;
  return {
    version: 1,
    stage,
    createdAt: new Date().toISOString(),
    parent,
    data: [
      ...files.map(({ path, sha256 }, i) => ({ name: path, sha256, tokens: i === 0 ? tokens : 0 })),
      ...sources,
    ],
    config: JSON.parse(JSON.stringify(config)),
    variants: pretrainVariants(device),
    versions: { deno: Deno.version.deno, v8: Deno.version.v8 },
    adapter: { description, vendor, architecture },
  };
}

async function newName(
  root: string,
  { name: stage }: { name: string },
  { name }: StageCommand,
): Promise<string> {
  if (name === undefined) return await freeRunName(root, stage);
  const act = `make run "${name}"`;
  checkRunName(name, act);
  if (!await exists(join(root, name, "run.json"))) return name;
  const state = `${join(root, name)} exists; --resume ${name} goes on with it`;
  throw new CannotError(act, "want a name that is free", state);
}

/** Says how many rows were left out, and which are bad. */
function sayLeftOut({ path, bad, tooLong }: DataFile, maxTokens: number): void {
  if (tooLong > 0) {
    console.log(`left out ${tooLong} rows of ${path} longer than ${maxTokens} tokens`);
  }
  if (bad.length === 0) return;
  console.log(`left out ${bad.length} bad rows of ${path}:`);
  for (const fault of bad.slice(0, MOST_LISTED)) console.log(`  ${faultWords(fault)}`);
  if (bad.length > MOST_LISTED) console.log(`  and ${bad.length - MOST_LISTED} more`);
}

/** Where a bad row is, and what is wrong with it. */
export function faultWords({ line, column, want, state }: RowFault): string {
  const where = column === undefined ? "" : `, column "${column}"`;
  return `line ${line}${where}: ${want}: ${state}`;
}

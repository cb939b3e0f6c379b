/**
 * What the commands of stages that train for epochs have in common: where a run comes from, what
 * must be as it was, and the loop's progress.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { CannotError, orCannot } from "../config/cannot.ts";
import type { Device } from "../gpu/device.ts";
import type { ModelConfig } from "../model/config.ts";
import { forwardFlops } from "../model/decoder.ts";
import { DIALOGUE_TOKENS } from "../prompt/dialogue.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { type RunInfo, runsRoot, RunWriter } from "../run/run_folder.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import {
  checkEpochConfig,
  type EpochConfig,
  fixedEpochDifferences,
} from "../train/epoch_config.ts";
import { type EpochEvaluation, type EpochStage, runEpochs } from "../train/epochs.ts";
import type { LengthResult, StepTag } from "../train/length_step.ts";
import { checkSameBits, takeBack } from "../train/pretrain_run.ts";
import { stageInfo } from "../train/stage_info.ts";
import type { DataFile } from "../train/sft_data.ts";
import { type HostedCommand, say, type StageHost, stageHost } from "./host.ts";
import { Progress } from "./progress.ts";
import { checkSameFiles, grown, leftOutLines, newName, openParent, openPast } from "./stage_run.ts";
import { checkMemory, report, stopOnSignals, usage } from "./train.ts";

/** Options of a stage's command, as the command line gives them. */
export interface StageCommand extends HostedCommand {
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
  /** Settings that reading it has made definite, such as the step of a run. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Copies of the weights that the stage needs in memory, where not as usual. */
  readonly memory?: { readonly copies: number; readonly words: string };
  /** Gives files back. */
  close(): void;
}

/** What a stage's data is read with. */
export interface StageLoadOptions {
  /** With the tokens of a dialogue. */
  readonly tokenizer: Tokenizer;
  /** The decoder, with rows for them. */
  readonly model: ModelConfig;
  /** The most tokens of a row. */
  readonly maxTokens: number;
  /** Where prepared text stays. */
  readonly cacheFolder: string;
  /** Folder of all runs. */
  readonly root: string;
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
  readonly name: "sft" | "reward" | "dpo";
  /** Completes the settings of a run, or of a command. @throws {CannotError} As loadConfig. */
  resolve(sources: SettingsSources): Promise<C>;
  /** Checks what no single field can say. @throws {RangeError} When values do not fit. */
  check?(config: C): void;
  /** Reads the data. */
  load(config: C, options: StageLoadOptions): Promise<D>;
  /** Makes weights and moments. */
  open(parts: StageParts<C>, data: D): Promise<S>;
  /** What a step leaves in the metrics beside what all leave. */
  stepMetrics(result: R): Record<string, number>;
  /** What an evaluation leaves in the metrics, and says. */
  evaluation(event: E): { metrics: Record<string, number>; line: string };
}

/** What a run has of its own, and cannot be given again. */
const OWN = ["data", "dev", "from", "config", "name"] as const;

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
  const past = await openPast(root, options, { stage: kind.name, own: OWN });
  if (past) cleanup.defer(() => past.close());
  const asked = await resolveConfig(kind, options, past);
  const isSaved = past !== undefined && (await past.steps()).length > 0;
  const checkpoint = isSaved ? await past.checkpoint("last") : undefined;
  const parent = await openParent(root, options, past);
  const { model, tokenizer } = await grown(
    `train ${kind.name}`,
    checkpoint ?? parent.checkpoint,
    DIALOGUE_TOKENS,
  );
  const maxTokens = Math.min(asked.maxTokens ?? model.contextLength, model.contextLength);
  const cacheFolder = join(root, ".data");
  const data = await usage(() =>
    kind.load(asked, { tokenizer, model, maxTokens, cacheFolder, root })
  );
  cleanup.defer(() => data.close());
  const config: C = { ...asked, ...data.settings };
  const name = past?.name ??
    await orCannot(
      `make a run in ${root}`,
      "want a folder",
      () => newName(root, kind.name, options.name),
    );

  const host = await stageHost(options, cleanup);
  const { device } = host;
  const info = runInfo(kind.name, device, config, data, parent.lineage);
  if (past) {
    checkSameBits(past, info);
    checkSameFiles(past, info);
  }
  checkMemory(device, model, data.memory);
  const state = await usage(() =>
    kind.open({ device, config, model, tokenizer, parent: parent.checkpoint, checkpoint }, data)
  );
  cleanup.defer(() => state.destroy());
  const from = state.step > 0 ? `goes on after step ${state.step}` : `begins with ${parent.name}`;
  say(host, `${join(root, name)}: ${from}: ${data.words}, on ${device.info.description}`);
  for (const line of data.files.flatMap((file) => leftOutLines(file, maxTokens))) say(host, line);

  cleanup.defer(stopOnSignals(state));
  const run = past ?? await RunWriter.create(root, name, info);
  if (past) await takeBack(past, checkpoint, config);
  else cleanup.defer(() => run.close());
  return await drive(kind, state, { run, host, model, rowTokens: data.rowTokens });
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
  parts: { run: RunWriter; host: StageHost; model: ModelConfig; rowTokens: number },
): Promise<number> {
  const { run, host, model, rowTokens: T } = parts;
  const progress = new Progress({
    totalSteps: state.plan.totalSteps,
    // A backward costs twice its forward.
    flopsPerToken: 3 * forwardFlops(model, 1, T) / T,
    ceilingFlops: host.ceilingFlops,
    sink: host.sink,
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
    `stopped after step ${state.step}; go on with: ` +
      (host.goOn ?? `./brachio train ${kind.name} --resume ${run.name}` +
          (run.root === runsRoot() ? "" : ` --runs ${run.root}`)),
  );
  return 130;
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

function runInfo(
  stage: string,
  device: Device,
  config: EpochConfig,
  { files, tokens, sources = [] }: StageData,
  parent: RunInfo["parent"],
): RunInfo {
  const data = [
    ...files.map(({ path, sha256 }, i) => ({ name: path, sha256, tokens: i === 0 ? tokens : 0 })),
    ...sources,
  ];
  return stageInfo(stage, device, { config, parent, data });
}

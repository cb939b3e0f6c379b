/**
 * `brachio train`: pre-trains a GPT on text, from its tokenizer to its last checkpoint.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { CannotError } from "../config/cannot.ts";
import { loadConfig } from "../config/config.ts";
import { readPieces } from "../data/documents.ts";
import { prepareData, type PreparedData } from "../data/prepare.ts";
import { findSources } from "../data/sources.ts";
import { measureCeilings } from "../gpu/ceiling.ts";
import { Device } from "../gpu/device.ts";
import { formatProfile, profile } from "../gpu/profile.ts";
import type { ModelConfig } from "../model/config.ts";
import { forwardFlops } from "../model/decoder.ts";
import { parameterCount } from "../model/parameters.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { freeRunName, type RunInfo, runsRoot, RunWriter } from "../run/run_folder.ts";
import { CharacterTokenizer } from "../tokenizer/characters.ts";
import { loadTokenizer, readTokenizer, tokenizerConfig, tokenizerText } from "../tokenizer/file.ts";
import { gpt2Tokenizer } from "../tokenizer/gpt2.ts";
import { END_OF_TEXT, RESERVED_TOKENS } from "../tokenizer/special.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { trainBpeFromCounts, WordCounts } from "../tokenizer/train.ts";
import { pretrain, Pretraining } from "../train/pretrain.ts";
import {
  presetValues,
  type PretrainConfig,
  pretrainSchema,
  resolveModel,
} from "../train/pretrain_config.ts";
import { UsageError } from "./errors.ts";
import { Progress } from "./progress.ts";

/** Options of `brachio train pretrain`, as the command line gives them. */
export interface PretrainCommand {
  data?: string[];
  preset?: string;
  config?: string;
  set?: string[];
  steps?: number;
  name?: string;
  runs?: string;
  resume?: string;
  profile?: boolean;
  subgroups: boolean;
  f16: boolean;
}

/** Text to train on where none is given: this program's own source. */
const BUILT_IN = ["../../src", "../../shaders", "../../README.md"].map((path) =>
  fileURLToPath(new URL(path, import.meta.url))
);

/** Trains to the end, or until Ctrl-C, and returns the exit status. */
export async function trainPretrain(options: PretrainCommand): Promise<number> {
  const root = runsRoot(options.runs);
  if (options.resume !== undefined) {
    for (const flag of ["data", "preset", "config", "name"] as const) {
      if (options[flag] === undefined) continue;
      throw new UsageError(`--${flag} cannot go with --resume: the run has its own`);
    }
  }
  const resumed = options.resume === undefined
    ? undefined
    : await RunWriter.open(root, options.resume);
  const checkpoint = await resumed?.checkpoint("last");
  const config = await resolveConfig(options, resumed?.info.config);
  const tokenizer = checkpoint
    ? loadTokenizer(await checkpoint.text("tokenizer.json"))
    : await makeTokenizer(config);
  const data = await prepare(config, tokenizer, `${root}/data`);
  const model = usage(() => resolveModel(config, tokenizer.vocabSize));

  const device = await Device.open({ subgroups: options.subgroups, f16: options.f16 });
  const info = runInfo(device, config, data);
  const run = resumed ?? await RunWriter.create(root, await newName(root, options), info);
  const stopListening: (() => void)[] = [];
  try {
    if (checkpoint) await resume(run, checkpoint, info);
    const state = await Pretraining.open({
      device,
      config,
      model,
      data,
      run,
      tokenizerFiles: tokenizerFiles(tokenizer, model),
      checkpoint,
    });
    describe(run, model, data, device);
    if (options.profile) return await printProfile(device, state);
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      const stop = () => {
        if (state.stopping) Deno.exit(130); // asked twice
        state.stopping = true;
      };
      Deno.addSignalListener(signal, stop);
      stopListening.push(() => Deno.removeSignalListener(signal, stop));
    }
    await drive(state, run, device);
    state.destroy();
    return 0;
  } finally {
    for (const stop of stopListening) stop();
    run.close();
    data.close();
    device.close();
  }
}

/** Runs the stage, writing metrics and the progress line. */
async function drive(state: Pretraining, run: RunWriter, device: Device): Promise<void> {
  const { config, model } = state.options;
  const T = config.sequenceLength ?? model.contextLength;
  const { fmaGFLOPs } = await measureCeilings(device, { sampleMs: 30 });
  const progress = new Progress({
    firstStep: state.step,
    totalSteps: config.steps,
    // A backward costs twice its forward.
    flopsPerToken: 3 * forwardFlops(model, 1, T) / T,
    ceilingFlops: fmaGFLOPs * 1e9,
  });
  for await (const event of pretrain(state)) {
    if (event.kind === "step") {
      const tokensPerSecond = progress.step(event);
      run.log({
        step: event.step + 1,
        "train/loss": event.loss,
        lr: event.lr,
        grad_norm: event.gradNorm,
        tokens_per_second: Math.round(tokensPerSecond),
      });
    } else if (event.kind === "evaluation") {
      progress.line(
        `step ${event.step}: validation loss ${event.loss.toFixed(4)}, perplexity ` +
          `${event.perplexity.toFixed(2)}, ${event.bitsPerByte.toFixed(3)} bits a byte ` +
          `(${event.wholeSplit ? "whole split" : `${event.tokens} tokens`})`,
      );
      run.log({
        step: event.step,
        "val/loss": event.loss,
        "val/perplexity": event.perplexity,
        "val/bits_per_byte": event.bitsPerByte,
      });
    } else {
      progress.line(`step ${event.step}: saved ${run.path}/checkpoints/${event.step}`);
    }
  }
  if (state.stopping && state.step < config.steps) {
    progress.line(
      `stopped after step ${state.step}; go on with: ./brachio train pretrain --resume ${run.name}`,
    );
  }
}

async function resolveConfig(
  options: PretrainCommand,
  recorded: Record<string, unknown> | undefined,
): Promise<PretrainConfig> {
  const { preset } = options;
  const base = recorded ?? (preset === undefined ? {} : usage(() => presetValues(preset)));
  const flags = options.set ?? [];
  const config = await loadConfig(pretrainSchema, {
    base,
    file: options.config,
    set: options.steps === undefined ? flags : [...flags, `steps=${options.steps}`],
  });
  return options.data ? { ...config, data: options.data } : config;
}

/** What a value that the user gave makes impossible is the user's to mend. */
function usage<T>(resolve: () => T): T {
  try {
    return resolve();
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}

function sourcesOf(config: PretrainConfig): string[] {
  return config.data.length > 0 ? config.data : BUILT_IN;
}

/** The tokenizer of a fresh run: named, of a file, or learnt from the data. */
async function makeTokenizer(config: PretrainConfig): Promise<Tokenizer> {
  const { tokenizer, field, vocabSize } = config;
  if (tokenizer === "gpt2") return await gpt2Tokenizer();
  if (tokenizer !== "char" && tokenizer !== "bpe") return await readTokenizer(tokenizer);
  const pieces = readPieces(await findSources(sourcesOf(config)), { field });
  if (tokenizer === "char") {
    const texts: string[] = [];
    for await (const { text } of pieces) texts.push(text);
    return CharacterTokenizer.fromText(texts);
  }
  const counts = new WordCounts(RESERVED_TOKENS);
  for await (const { text } of pieces) counts.add(text);
  return trainBpeFromCounts(counts, { vocabSize });
}

function prepare(
  config: PretrainConfig,
  tokenizer: Tokenizer,
  cacheFolder: string,
): Promise<PreparedData> {
  return prepareData({
    inputs: sourcesOf(config),
    cacheFolder,
    encoder: {
      // Text from files is text: the names of special tokens in it are not special.
      encode: (text) => tokenizer.encode(text, { allowSpecial: false }),
      vocabSize: tokenizer.vocabSize,
      sha256: createHash("sha256").update(tokenizerText(tokenizer)).digest("hex"),
    },
    separator: tokenizer.specialTokens.get(END_OF_TEXT),
    split: { by: "end", fraction: config.validation },
    field: config.field,
  });
}

function tokenizerFiles(tokenizer: Tokenizer, model: ModelConfig): Record<string, unknown> {
  return {
    "tokenizer.json": tokenizer.toJSON(),
    "tokenizer_config.json": tokenizerConfig(tokenizer, { modelMaxLength: model.contextLength }),
  };
}

function runInfo(device: Device, config: PretrainConfig, data: PreparedData): RunInfo {
  const { description, vendor, architecture } = device.info;
  return {
    version: 1,
    stage: "pretrain",
    createdAt: new Date().toISOString(),
    parent: null,
    data: [{
      name: config.data.length > 0 ? config.data.join(", ") : "built-in",
      sha256: data.info.sha256,
      tokens: data.train.count + data.val.count,
    }],
    config: JSON.parse(JSON.stringify(config)),
    variants: { matmul: "sequential", lanes: `${device.lanes}` },
    versions: { deno: Deno.version.deno, v8: Deno.version.v8 },
    adapter: { description, vendor, architecture },
  };
}

/** Goes back to the checkpoint, and refuses where it could not go on bit for bit. */
async function resume(run: RunWriter, checkpoint: Checkpoint, now: RunInfo): Promise<void> {
  const then = run.info;
  const act = `go on with run "${run.name}"`;
  if (then.stage !== "pretrain") {
    throw new CannotError(act, "want a run of pre-training", `its stage is ${then.stage}`);
  }
  if (then.data[0]?.sha256 !== now.data[0]!.sha256) {
    throw new CannotError(act, "want the data it began with", "the files have changed");
  }
  if (JSON.stringify(then.variants) !== JSON.stringify(now.variants)) {
    throw new CannotError(
      act,
      `want kernels of the same order of sums (${JSON.stringify(then.variants)})`,
      `this device has ${JSON.stringify(now.variants)}`,
    );
  }
  await run.rewindTo(checkpoint);
}

async function newName(root: string, { name, preset }: PretrainCommand): Promise<string> {
  return name ?? await freeRunName(root, preset ?? "pretrain");
}

function describe(run: RunWriter, model: ModelConfig, data: PreparedData, device: Device): void {
  const { layers, channels, heads, contextLength } = model;
  console.log(
    `${run.path}: ${parameterCount(model).toLocaleString("en")} parameters (${layers} layers, ` +
      `${channels} wide, ${heads} heads, context ${contextLength}, ${model.vocabSize} tokens), ` +
      `${data.train.count.toLocaleString("en")} tokens to train on, on ${device.info.description}`,
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
  state.destroy();
  return 0;
}

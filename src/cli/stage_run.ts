/**
 * The runs of a stage's command: which it starts from, which it goes on with, and what must then be
 * as it was.
 *
 * @module
 */
import { join } from "node:path";
import { CannotError } from "../config/cannot.ts";
import type { RowFault } from "../data/tables.ts";
import type { ModelConfig } from "../model/config.ts";
import { configFromJson } from "../model/config_json.ts";
import { exists } from "../run/atomic.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import {
  checkRunName,
  freeRunName,
  newestRun,
  Run,
  type RunInfo,
  RunWriter,
  type Which,
} from "../run/run_folder.ts";
import { loadTokenizer } from "../tokenizer/file.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { UsageError } from "./errors.ts";

/** Which runs a command is about. */
export interface RunChoice {
  /** The run to start from; else the newest. */
  readonly from?: string;
  /** Which of its checkpoints. */
  readonly checkpoint: Which;
  /** Name of the new run. */
  readonly name?: string;
  /** Run to go on with. */
  readonly resume?: string;
}

/**
 * The run to go on with, if any, held against other writers.
 *
 * @param own options that the run has itself, and that cannot be given again
 * @throws {CannotError} When there is no such run, or it is of another stage.
 */
export async function openPast<O extends RunChoice>(
  root: string,
  options: O,
  { stage, words = stage, own }: { stage: string; words?: string; own: readonly (keyof O)[] },
): Promise<RunWriter | undefined> {
  if (options.resume === undefined) return undefined;
  for (const flag of own) {
    if (options[flag] === undefined) continue;
    throw new UsageError(`--${String(flag)} cannot go with --resume: the run has its own`);
  }
  const run = await RunWriter.open(root, options.resume);
  if (run.info.stage === stage) return run;
  run.close();
  const state = `its stage is ${run.info.stage}`;
  throw new CannotError(`go on with run "${run.name}"`, `want a run of ${words}`, state);
}

/** Refuses where a file is another one now, the one to evaluate on too. */
export function checkSameFiles({ name, info }: RunWriter, now: RunInfo): void {
  const other = info.data.find(({ sha256 }, i) => sha256 !== now.data[i]?.sha256);
  if (!other) return;
  const want = "want the data it began with";
  throw new CannotError(`go on with run "${name}"`, want, `${other.name} has changed`);
}

/** Where a run comes from; the checkpoint is there unless another run's is gone on from. */
export interface Parent {
  /** To start from. */
  readonly checkpoint?: Checkpoint | undefined;
  /** For `run.json`. */
  readonly lineage: RunInfo["parent"];
  /** Of the run, in words. */
  readonly name: string;
}

/** The checkpoint that a run starts from. @throws {CannotError} When there is none such. */
export async function openParent(
  root: string,
  options: RunChoice,
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

/**
 * Model and tokenizer of a checkpoint, grown by the tokens that a stage adds.
 *
 * @throws {CannotError} When there is no checkpoint to start from.
 */
export async function grown(
  act: string,
  checkpoint: Checkpoint | undefined,
  tokens: readonly string[],
): Promise<{ model: ModelConfig; tokenizer: Tokenizer }> {
  if (!checkpoint) throw new CannotError(act, "want a checkpoint to start from", "there is none");
  const model = configFromJson(await checkpoint.json("config.json"));
  const tokenizer = loadTokenizer(await checkpoint.text("tokenizer.json"))
    .withSpecialTokens(tokens);
  const vocabSize = Math.max(model.vocabSize, tokenizer.vocabSize);
  return { model: { ...model, vocabSize }, tokenizer };
}

/** The name that was asked for, or a free one. @throws {CannotError} When it is none or taken. */
export async function newName(root: string, stem: string, name?: string): Promise<string> {
  if (name === undefined) return await freeRunName(root, stem);
  const act = `make run "${name}"`;
  checkRunName(name, act);
  if (!await exists(join(root, name, "run.json"))) return name;
  const state = `${join(root, name)} exists; --resume ${name} goes on with it`;
  throw new CannotError(act, "want a name that is free", state);
}

/** Bad rows that are listed by name; the others are counted. */
const MOST_LISTED = 10;

/** How many rows were left out, and which are bad, a line each. */
export function leftOutLines(
  { path, bad, tooLong = 0 }: { path: string; bad: readonly RowFault[]; tooLong?: number },
  maxTokens?: number,
): string[] {
  const lines = tooLong > 0
    ? [`left out ${tooLong} rows of ${path} longer than ${maxTokens} tokens`]
    : [];
  if (bad.length === 0) return lines;
  lines.push(`left out ${bad.length} bad rows of ${path}:`);
  for (const fault of bad.slice(0, MOST_LISTED)) lines.push(`  ${faultWords(fault)}`);
  if (bad.length > MOST_LISTED) lines.push(`  and ${bad.length - MOST_LISTED} more`);
  return lines;
}

/** Where a bad row is, and what is wrong with it. */
export function faultWords({ line, column, want, state }: RowFault): string {
  const where = column === undefined ? "" : `, column "${column}"`;
  return `line ${line}${where}: ${want}: ${state}`;
}

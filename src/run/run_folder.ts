/**
 * Run folders: all that a training run leaves behind, and all that the next one starts from.
 *
 * ```text
 * runs/<name>/run.json        lineage, see RunInfo
 *             lock            one writer
 *             metrics.jsonl   cut back to the checkpoint on resume
 *             current         step of the checkpoint to serve
 *             checkpoints/<step>/…
 * ```
 *
 * @module
 */

import { join } from "node:path";
import * as z from "zod";
import { CannotError, orCannot, systemState } from "../config/cannot.ts";
import {
  exists,
  recover,
  removeFolderAtomic,
  settledNames,
  syncFolder,
  writeFileAtomic,
} from "./atomic.ts";
import {
  type Checkpoint,
  type CheckpointFile,
  openCheckpoint,
  type OpenOptions,
  readManifest,
  writeCheckpoint,
} from "./checkpoint.ts";
import { Lock } from "./lock.ts";
import { MetricsLog, type MetricsRecord, readMetrics } from "./metrics.ts";

const hash = z.string().regex(/^[0-9a-f]{64}$/);

/** What `run.json` says: where a run comes from. */
export interface RunInfo {
  /** Of the format. */
  version: 1;
  /** pretrain, finetune, sft, reward, ppo, … */
  stage: string;
  /** ISO 8601, in UTC. */
  createdAt: string;
  /** The run that this one started from, and the SHA-256 of the `model.safetensors` there. */
  parent: { run: string; step: number; weights: string } | null;
  /** What it was trained on; the name is for people, the hash is what counts. */
  data: { name: string; sha256: string; tokens: number }[];
  /** The resolved configuration of the stage. */
  config: Record<string, Json>;
  /** Kernel variant by shape: the order of every sum. */
  variants: Record<string, string>;
  /** Of this program and of what it runs on. */
  versions: Record<string, string>;
  /** The GPU, as its driver tells it. */
  adapter: Record<string, Json> | null;
}

/** A value that JSON can hold. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

const runInfoSchema: z.ZodType<RunInfo> = z.strictObject({
  version: z.literal(1),
  stage: z.string().min(1),
  createdAt: z.iso.datetime(),
  parent: z.strictObject({ run: z.string(), step: z.int().min(0), weights: hash }).nullable(),
  data: z.array(z.strictObject({ name: z.string(), sha256: hash, tokens: z.int().min(0) })),
  config: z.record(z.string(), z.json()),
  variants: z.record(z.string(), z.string()),
  versions: z.record(z.string(), z.string()),
  adapter: z.record(z.string(), z.json()).nullable(),
});

/** Which checkpoint of a run. */
export type Which = number | "current" | "last" | "best";

/** Which checkpoints stay: the last so many, the best one, and always the current one. */
export interface Keep {
  /** So many of the last ones. @default 2 */
  last?: number;
  /** The one of the lowest score. @default true */
  best?: boolean;
}

/** The folder of all runs: the option, else BRACHIO_RUNS, else `runs`. */
export function runsRoot(option?: string): string {
  return option || Deno.env.get("BRACHIO_RUNS") || "runs";
}

/** A run, for reading; another process may be writing it. */
export class Run {
  /** Folder of all runs. */
  readonly root: string;
  /** Name of the folder in it. */
  readonly name: string;
  /** What `run.json` said when the run was opened. */
  readonly info: RunInfo;

  /** Made by {@linkcode Run.open}. */
  protected constructor(root: string, name: string, info: RunInfo) {
    this.root = root;
    this.name = name;
    this.info = info;
  }

  /** Opens a run by its name. @throws {CannotError} when there is none, or `run.json` is not one */
  static async open(root: string, name: string): Promise<Run> {
    return new Run(root, name, await readInfo(root, name));
  }

  /** Its folder. */
  get path(): string {
    return join(this.root, this.name);
  }

  /** Steps of its checkpoints, in order. */
  async steps(): Promise<number[]> {
    const names = await settledNames(join(this.path, "checkpoints"));
    return names.filter((name) => /^(0|[1-9]\d*)$/.test(name)).map(Number).sort((a, b) => a - b);
  }

  /** Step of the checkpoint to serve, or undefined. */
  async currentStep(): Promise<number | undefined> {
    let text: string;
    try {
      text = await Deno.readTextFile(join(this.path, "current"));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw new CannotError(`read ${this.path}/current`, "want a step", systemState(error));
    }
    if (/^\d+\n$/.test(text)) return Number(text);
    throw new CannotError(
      `read ${this.path}/current`,
      "want a step",
      `got ${JSON.stringify(text)}`,
    );
  }

  /**
   * Opens a checkpoint and checks its files.
   *
   * @throws {CannotError} when there is none such, or one of its files was cut off or altered
   */
  async checkpoint(which: Which = "current", options: OpenOptions = {}): Promise<Checkpoint> {
    const steps = await this.steps();
    const step = await this.#stepOf(which, steps);
    if (step !== undefined && steps.includes(step)) {
      return await openCheckpoint(this.#folderOf(step), options);
    }
    const wanted = typeof which === "number" ? `step ${which}` : `a ${which} one`;
    throw new CannotError(
      `open a checkpoint of run "${this.name}"`,
      `want ${wanted}`,
      steps.length === 0 ? "it has none yet" : `it has ${steps.join(", ")}`,
    );
  }

  /** The lines of `metrics.jsonl`. */
  async metrics(): Promise<MetricsRecord[]> {
    return await readMetrics(join(this.path, "metrics.jsonl"));
  }

  async #stepOf(which: Which, steps: number[]): Promise<number | undefined> {
    if (typeof which === "number") return which;
    if (which === "last") return steps.at(-1);
    if (which === "best") return await this.bestStep(steps);
    return await this.currentStep();
  }

  /** The step of the lowest score, or undefined where none has one. */
  protected async bestStep(steps: number[]): Promise<number | undefined> {
    let best: { step: number; score: number } | undefined;
    for (const step of steps) {
      // One that cannot be read is no candidate; who asks for it by its step hears why.
      const manifest = await readManifest(this.#folderOf(step)).catch(() => undefined);
      const score = manifest?.score ?? null;
      if (score !== null && (best === undefined || score < best.score)) best = { step, score };
    }
    return best?.step;
  }

  #folderOf(step: number): string {
    return join(this.path, "checkpoints", String(step));
  }
}

/** What {@linkcode RunWriter.save} takes. */
export interface SaveOptions {
  /** Step of the run: so many are done. */
  step: number;
  /** The content. */
  files: Iterable<CheckpointFile>;
  /** Lower is better, as a validation loss; a NaN counts as none. @default none */
  score?: number | undefined;
  /** What else stays. */
  keep?: Keep;
  /** Serve this one from now on. @default true */
  current?: boolean;
}

/** A run that this process writes. Others can read it; a second writer is refused. */
export class RunWriter extends Run {
  readonly #lock: Lock;
  readonly #metrics: MetricsLog;

  private constructor(root: string, name: string, info: RunInfo, lock: Lock, metrics: MetricsLog) {
    super(root, name, info);
    this.#lock = lock;
    this.#metrics = metrics;
  }

  /** Makes a new run. @throws {CannotError} when there is one of that name, or it is no name */
  static async create(root: string, name: string, info: RunInfo): Promise<RunWriter> {
    const act = `make run "${name}"`;
    checkRunName(name, act);
    const parsed = runInfoSchema.parse(info);
    const path = join(root, name);
    const folder = `want a folder ${path}`;
    await orCannot(act, folder, () => Deno.mkdir(join(path, "checkpoints"), { recursive: true }));
    const lock = Lock.take(join(path, "lock"), act);
    try {
      // Without run.json it is the start of a run whose writer died.
      if (await exists(join(path, "run.json"))) {
        throw new CannotError(act, "want a name that is free", `${path} exists`);
      }
      await recover(path);
      await orCannot(act, folder, () => syncFolder(root));
      const metrics = new MetricsLog(join(path, "metrics.jsonl"));
      await writeFileAtomic(join(path, "run.json"), infoText(parsed));
      return new RunWriter(root, name, parsed, lock, metrics);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * Takes over a run that exists, and ends what a dead writer left half done.
   *
   * @throws {CannotError} when there is none, or another process writes it
   */
  static override async open(root: string, name: string): Promise<RunWriter> {
    const path = join(root, name);
    await readInfo(root, name); // before a lock file is made where no run is
    const lock = Lock.take(join(path, "lock"), `write run "${name}"`);
    try {
      await recover(path);
      await recover(join(path, "checkpoints"));
      const info = await readInfo(root, name);
      return new RunWriter(root, name, info, lock, new MetricsLog(join(path, "metrics.jsonl")));
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Appends a line to the metrics. */
  log(record: MetricsRecord): void {
    this.#metrics.append(record);
  }

  /**
   * Goes back to a checkpoint: drops the metrics after it and the checkpoints after it, which
   * belong to a future that will now be another one.
   */
  async rewindTo(checkpoint: Checkpoint): Promise<void> {
    const later = (await this.steps()).filter((step) => step > checkpoint.step);
    if (later.includes(await this.currentStep() ?? -1)) await this.setCurrent(checkpoint.step);
    for (const step of later.reverse()) await this.#remove(step);
    this.#metrics.cutTo(checkpoint.manifest.metricsBytes); // last: a crash before it loses no line
  }

  /** Drops all metrics and checkpoints: the run starts anew. */
  async rewindToStart(): Promise<void> {
    await Deno.remove(join(this.path, "current")).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
    for (const step of (await this.steps()).reverse()) await this.#remove(step);
    this.#metrics.cutTo(0);
  }

  /**
   * Saves a checkpoint, whole or not at all, then removes those that need not stay.
   *
   * @throws {CannotError} when the disk is full; the earlier checkpoints are then still there
   */
  async save(options: SaveOptions): Promise<void> {
    const { step, files, score = NaN, keep = {}, current = true } = options;
    await this.#metrics.sync();
    await writeCheckpoint(join(this.path, "checkpoints", String(step)), {
      step,
      score: Number.isFinite(score) ? score : null,
      metricsBytes: this.#metrics.sizeBytes,
    }, files);
    if (current) await this.setCurrent(step);
    await this.prune(keep);
  }

  /** Says which checkpoint to serve. */
  async setCurrent(step: number): Promise<void> {
    await writeFileAtomic(join(this.path, "current"), `${step}\n`);
  }

  /** Writes a report, a curve or samples beside `run.json`, whole or not at all. */
  async writeText(name: string, text: string): Promise<void> {
    await writeFileAtomic(join(this.path, name), text);
  }

  /**
   * Lets other writers in. Nothing is lost without it: the system does so when the process ends.
   */
  close(): void {
    this.#metrics.close();
    this.#lock.release();
  }

  /** Removes the checkpoints that need not stay. */
  async prune({ last = 2, best = true }: Keep): Promise<void> {
    const steps = await this.steps();
    const kept = new Set(steps.slice(-Math.max(1, last)));
    kept.add(await this.currentStep() ?? -1);
    if (best) kept.add(await this.bestStep(steps) ?? -1);
    for (const step of steps) if (!kept.has(step)) await this.#remove(step);
  }

  /** Removes checkpoints, but the current one. @returns steps of those that were there */
  async remove(steps: readonly number[]): Promise<number[]> {
    const current = await this.currentStep();
    const found = (await this.steps()).filter((step) => step !== current && steps.includes(step));
    for (const step of found) await this.#remove(step);
    return found;
  }

  async #remove(step: number): Promise<void> {
    await removeFolderAtomic(join(this.path, "checkpoints", String(step)));
  }
}

/** All runs of a folder, the newest first. What is no run there is passed over. */
export async function listRuns(root: string): Promise<Run[]> {
  const runs: Run[] = [];
  for (const name of await settledNames(root)) {
    if (!await exists(join(root, name, "run.json"))) continue;
    runs.push(await Run.open(root, name));
  }
  const before = (a: Run, b: Run) =>
    a.info.createdAt !== b.info.createdAt ? a.info.createdAt > b.info.createdAt : a.name > b.name;
  return runs.sort((a, b) => before(a, b) ? -1 : 1);
}

/** The run that was made last and has a checkpoint to serve. @throws {CannotError} without any */
export async function newestRun(root: string): Promise<Run> {
  const runs = await listRuns(root);
  for (const run of runs) if (await run.currentStep() !== undefined) return run;
  throw new CannotError(
    `find a run in ${root}`,
    "want one with a checkpoint",
    runs.length === 0 ? "there is no run" : `its ${runs.length} runs have none yet`,
  );
}

/** `stem`, or the first of `stem-2`, `stem-3`, … that no run has. */
export async function freeRunName(root: string, stem: string): Promise<string> {
  for (let i = 1;; i++) {
    const name = i === 1 ? stem : `${stem}-${i}`;
    if (!await exists(join(root, name, "run.json"))) return name;
  }
}

/** Checks a name. @throws {CannotError} When a run cannot have it. */
export function checkRunName(name: string, act: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name)) return;
  const want = "want a name of letters, digits, dots, dashes and underscores";
  throw new CannotError(act, want, `got ${JSON.stringify(name)}`);
}

async function readInfo(root: string, name: string): Promise<RunInfo> {
  const act = `open run "${name}"`;
  checkRunName(name, act);
  const path = join(root, name, "run.json");
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    const state = error instanceof Deno.errors.NotFound
      ? `there is no such run in ${root}`
      : systemState(error);
    throw new CannotError(act, `want ${path}`, state, { cause: error });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CannotError(act, `want JSON in ${path}`, (error as Error).message, { cause: error });
  }
  const parsed = runInfoSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path: keys, message } = parsed.error.issues[0]!;
  throw new CannotError(act, `want a run's lineage in ${path}`, `${keys.join(".")}: ${message}`);
}

function infoText(info: RunInfo): string {
  return JSON.stringify(info, null, 2) + "\n";
}

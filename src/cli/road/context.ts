/**
 * What every stage of the road has at hand.
 *
 * @module
 */
import { join } from "node:path";
import type { World } from "../../data/world/types.ts";
import { worldOf } from "../../data/world/world.ts";
import { exists, writeFileAtomic } from "../../run/atomic.ts";
import { type Json, Run } from "../../run/run_folder.ts";
import { type HostedCommand, say, type StageHost } from "../host.ts";
import type { RoadConfig } from "./config.ts";
import type { Manifest } from "./manifest.ts";

/** What a stage leaves. */
export interface StageOutcome {
  /** A run, where it left one. */
  run?: string;
  /** Of that run's checkpoint. */
  step?: number;
  /** What it found, for later stages and the report. */
  found?: Json;
}

/** A part of the road. */
export interface RoadStage {
  /** Its runs are called after it. */
  readonly name: string;
  /** Stages that must have been done. */
  readonly needs: readonly string[];
  /** Its part of the whole time, about; all parts are of one unit. */
  readonly share: number;
  /** Does it, or the rest of it. @throws {Interrupted} When it was asked to stop. */
  run(road: Road): Promise<StageOutcome>;
}

/** Thrown where a stage was asked to stop, and has saved what it had. */
export class Interrupted extends Error {}

/** Options that all commands of stages take. */
export interface StageOptions extends HostedCommand {
  /** Name of the new run. */
  name?: string;
  /** Run to go on with. */
  resume?: string;
  /** Folder of all runs. */
  runs?: string;
}

/** A road under way. */
export class Road {
  /** Folder of all runs. */
  readonly root: string;
  /** Of the road. */
  readonly name: string;
  /** As it was resolved. */
  readonly config: RoadConfig;
  /** What is done. */
  readonly manifest: Manifest;
  /** Where stages run and print. */
  readonly host: StageHost;
  /** The built-in data. */
  readonly world: World;

  /** Of these parts. */
  constructor(
    { root, name, config, manifest, host }: {
      root: string;
      name: string;
      config: RoadConfig;
      manifest: Manifest;
      host: StageHost;
    },
  ) {
    this.root = root;
    this.name = name;
    this.config = config;
    this.manifest = manifest;
    this.host = host;
    this.world = worldOf(config.seed);
  }

  /** The road's own folder. */
  get path(): string {
    return join(this.root, this.name);
  }

  /** Prints a line. */
  say(line: string): void {
    say(this.host, line);
  }

  /** Name of a stage's run. */
  runOf(stage: string): string {
    return this.manifest.done(stage)?.run ?? `${this.name}-${stage}`;
  }

  /** What a stage that is done found. */
  async found<T extends Json>(stage: string): Promise<T> {
    return await this.manifest.found<T>(stage);
  }

  /** Path of a file of data. */
  dataFile(name: string): string {
    return join(this.path, "data", name);
  }

  /** Writes a file of rows, one JSON a line, whole or not at all. */
  async writeRows(name: string, rows: Iterable<unknown>): Promise<string> {
    const path = this.dataFile(name);
    await Deno.mkdir(join(this.path, "data"), { recursive: true });
    await writeFileAtomic(path, Array.from(rows, (row) => JSON.stringify(row) + "\n").join(""));
    return path;
  }

  /**
   * Runs the command of a stage that leaves a run: from its beginning, or from where its run
   * stands.
   *
   * @throws {Interrupted} When it was asked to stop.
   */
  async train<O extends StageOptions>(
    stage: string,
    command: (options: O) => Promise<number>,
    options: Omit<O, "host" | "subgroups" | "f16" | "name" | "resume" | "runs" | "checkpoint">,
  ): Promise<{ run: string; step: number }> {
    const run = `${this.name}-${stage}`;
    const isThere = await exists(join(this.root, run, "run.json"));
    const common = {
      host: this.host,
      runs: this.root,
      checkpoint: "current",
      subgroups: true,
      f16: true,
    };
    const own = isThere ? { resume: run } : { name: run, ...options };
    const status = await command({ ...common, ...own } as unknown as O);
    if (status !== 0) throw new Interrupted();
    return { run, step: (await (await Run.open(this.root, run)).currentStep())! };
  }

  /** The last of a metric that a stage's run logged. */
  async lastMetric(run: string, name: string): Promise<number | undefined> {
    const metrics = await (await Run.open(this.root, run)).metrics();
    const value = metrics.findLast((record) => typeof record[name] === "number")?.[name];
    return value as number | undefined;
  }

  /** Hears how many of so many are done, and says so now and then. */
  counter(what: string, total: number): (done: number) => void {
    let sayAtMs = performance.now() + 5000;
    return (done) => {
      if (performance.now() < sayAtMs) return;
      sayAtMs = performance.now() + 5000;
      this.say(`${what}: ${done} of ${total}`);
    };
  }
}

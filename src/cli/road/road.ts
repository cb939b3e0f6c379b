/**
 * `brachio train`: every stage from built-in data to a report card, in one process, resumable at
 * any point: the same command goes on where an earlier one was ended, however that was.
 *
 * It ends with status 0 when all is done, 130 when it was interrupted and can go on, and 1 or 2
 * when a stage failed; the stages that do not need it are done all the same, and the report says
 * so.
 *
 * @module
 */
import { join } from "node:path";
import { CannotError } from "../../config/cannot.ts";
import { exists } from "../../run/atomic.ts";
import { checkRunName, runsRoot } from "../../run/run_folder.ts";
import { describeFailure } from "../errors.ts";
import { type HostedCommand, say, stageHost } from "../host.ts";
import { duration } from "../progress.ts";
import { usage } from "../train.ts";
import { writeCard } from "./card.ts";
import { checkStages, type OwnData, roadConfig } from "./config.ts";
import { Interrupted, Road, type RoadStage } from "./context.ts";
import { Manifest } from "./manifest.ts";
import { RoadSink } from "./sink.ts";
import { roadStages } from "./stages.ts";

/** Options of `brachio train`, as the command line gives them. */
export interface RoadCommand extends HostedCommand, OwnData {
  /** How large: demo or full. */
  preset: "demo" | "full";
  /** A JSONC file of settings. */
  config?: string;
  /** Settings over the file and the preset, as `a.b=c`. */
  set?: string[];
  /** Name of the road, and the beginning of its runs' names; else the preset's. */
  name?: string;
  /** Folder of all runs. */
  runs?: string;
}

/** Goes the whole road, or the rest of it, and returns the exit status. */
export async function trainRoad(options: RoadCommand): Promise<number> {
  using cleanup = new DisposableStack();
  const root = runsRoot(options.runs);
  const name = options.name ?? options.preset;
  checkRunName(name, `begin road "${name}"`);
  const config = await roadConfig(options.preset, { file: options.config, set: options.set }, {
    ...options,
  });
  await usage(() => checkStages(config));
  await checkFiles(config.data);
  const stages = roadStages(config);
  await checkFree(root, name, stages);
  const manifest = await Manifest.open(join(root, name), name, config);
  cleanup.defer(() => manifest.close());

  const own = await stageHost(options, cleanup);
  const sink = new RoadSink(own.sink, stages, manifest);
  const host = { ...own, sink, goOn: goOn(options, root) };
  const road = new Road({ root, name, config, manifest, host });
  const left = stages.filter((stage) => !manifest.done(stage.name));
  say(
    host,
    `road "${name}": ${left.length} of ${stages.length} stages to go, ` +
      `on ${host.device.info.description}`,
  );
  const failures = await goAll(road, stages, sink);
  if (failures === undefined) return 130;
  const report = await writeCard(road, failures);
  say(host, `report: ${report.html}, ${report.markdown}`);
  for (const [stage, { line }] of failures) say(host, `${stage} failed: ${line}`);
  return Math.max(0, ...[...failures.values()].map(({ status }) => status));
}

/** A stage that failed: what is said of it, and the status that it would have had alone. */
export type Failures = Map<string, { line: string; status: number }>;

/** Goes through the stages. @returns those that failed; undefined where it was interrupted */
async function goAll(
  road: Road,
  stages: readonly RoadStage[],
  sink: RoadSink,
): Promise<Failures | undefined> {
  const { manifest, host } = road;
  const failures: Failures = new Map();
  for (const stage of stages) {
    if (manifest.done(stage.name)) continue;
    const missing = stage.needs.find((need) => failures.has(need));
    if (missing !== undefined) {
      failures.set(stage.name, { line: `it needs ${missing}, which failed`, status: 0 });
      continue;
    }
    sink.begin(stage);
    const beganMs = performance.now();
    try {
      const { found, ...run } = await stage.run(road);
      if (found !== undefined) await manifest.keep(stage.name, found);
      const seconds = Math.round((performance.now() - beganMs) / 100) / 10;
      await manifest.finish(stage.name, { ...run, seconds });
      say(host, `done in ${duration(1000 * seconds)}`);
    } catch (error) {
      if (error instanceof Interrupted) return undefined;
      const { line = "interrupted", status } = describeFailure(error);
      if (Deno.env.get("BRACHIO_DEBUG") === "1") console.error(error);
      failures.set(stage.name, { line, status });
      say(host, `failed: ${line}`);
    }
    await writeCard(road, failures);
  }
  sink.end();
  return failures;
}

/** Files of the user's that are not there are said before anything is done. */
async function checkFiles(
  { pretrain, sft, comparisons, prompts, tasks }: {
    pretrain: string[];
    sft?: string | undefined;
    comparisons?: string | undefined;
    prompts?: string | undefined;
    tasks: Record<string, string | undefined>;
  },
): Promise<void> {
  const files = [sft, comparisons, prompts, ...Object.values(tasks)];
  for (const path of [...files, ...pretrain.filter((path) => !/[*?[{]/.test(path))]) {
    if (path === undefined || await exists(path)) continue;
    throw new CannotError(`read ${path}`, "want a file", "there is none");
  }
}

/** A road that begins must not run into runs that are not its own. */
async function checkFree(
  root: string,
  name: string,
  stages: readonly RoadStage[],
): Promise<void> {
  if (await exists(join(root, name, "road.json"))) return;
  if (await exists(join(root, name, "run.json"))) {
    throw new CannotError(
      `begin road "${name}"`,
      "want a name that is free; --name NAME is another",
      `${join(root, name)} is a run`,
    );
  }
  for (const stage of stages) {
    const run = join(root, `${name}-${stage.name}`);
    if (!await exists(join(run, "run.json"))) continue;
    const want = "want names that are free; --name NAME begins another road";
    throw new CannotError(`begin road "${name}"`, want, `${run} exists`);
  }
}

/** The command that goes on with an interrupted road. */
function goOn(options: RoadCommand, root: string): string {
  const parts = ["./brachio train"];
  if (options.preset !== "demo") parts.push(`--preset ${options.preset}`);
  if (options.name !== undefined) parts.push(`--name ${options.name}`);
  if (root !== runsRoot()) parts.push(`--runs ${root}`);
  const has = options.set ?? options.config ?? options.pretrainData ?? options.sftData ??
    options.comparisons ?? options.prompts ?? options.taskData;
  return `${parts.join(" ")}${has === undefined ? "" : " with the same settings"}`;
}

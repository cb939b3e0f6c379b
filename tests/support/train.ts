/**
 * Tiny training runs for tests, as processes of the command line.
 *
 * @module
 */
import { PhiloxStream } from "../../src/random/philox.ts";
import { Run } from "../../src/run/run_folder.ts";
import { filesIn } from "./files.ts";
import { ROOT } from "./system.ts";

/** Settings of a model that trains a step in a few milliseconds. */
export const TINY = [
  "model.layers=2",
  "model.channels=16",
  "model.heads=2",
  "model.contextLength=16",
  "batchRows=4",
  "tokenizer=char",
  "lr=0.01",
  "warmupSteps=2",
  "evalEvery=10",
  "evalBatches=2",
  "sampleTokens=0",
  "saveEvery=5",
];

/** Words in no order: `count` of them, always the same. */
export function words(count: number): string {
  const stream = new PhiloxStream(7);
  const some = ["the", "cat", "sat", "on", "a", "mat,", "and", "then", "it", "slept.\n"];
  return Array.from({ length: count }, () => some[stream.integer(some.length)]!).join(" ");
}

/** Settings as the command line takes them. */
export function settings(values: readonly string[]): string[] {
  return values.length === 0 ? [] : ["--set", ...values];
}

/** The program and the arguments of a task of deno.json, in one process. */
async function taskCommand(task: string): Promise<string[]> {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const [, ...args] = (tasks[task] as string).split(" ");
  return args.map((arg) => arg.startsWith("src/") ? new URL(arg, ROOT).pathname : arg);
}

/** Runs a task of deno.json to its end, without a terminal. */
export async function runTask(task: string, args: readonly string[]): Promise<Ending> {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: [...await taskCommand(task), ...args],
    env: { NO_COLOR: "1", FORCE_COLOR: "" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  // The software driver spoils the status of about 3 processes in 1,000 when they end.
  return { status: code === 134 ? 0 : code, stdout: out!, stderr: err! };
}

/** Starts a task of deno.json, its output going nowhere. */
export async function startTask(task: string, args: readonly string[]): Promise<Deno.ChildProcess> {
  return new Deno.Command("deno", {
    args: [...await taskCommand(task), ...args],
    env: { NO_COLOR: "1", FORCE_COLOR: "" },
    stdout: "null",
    stderr: "null",
  }).spawn();
}

/** How a process is started. */
export interface StartOptions {
  /** Over the variables of this process. */
  env?: Record<string, string>;
  /** The folder that it starts in. */
  cwd?: string;
  /** Shell commands that come first, in the same process. */
  first?: string;
}

/** Starts `brachio train` with both outputs piped. */
export async function startTraining(
  args: readonly string[],
  { env = {}, cwd, first }: StartOptions = {},
): Promise<Deno.ChildProcess> {
  const all = [...await taskCommand("train"), "pretrain", ...args];
  const shell = ["-c", `${first}; exec deno "$@"`, "sh", ...all];
  return new Deno.Command(first === undefined ? "deno" : "sh", {
    args: first === undefined ? all : shell,
    env: { NO_COLOR: "1", FORCE_COLOR: "", ...env },
    ...(cwd === undefined ? {} : { cwd }),
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** What a process printed, and how it ended. */
export interface Ending {
  /** Exit status. */
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs `brachio train` to its end. */
export async function train(
  args: readonly string[],
  options: StartOptions = {},
): Promise<Ending> {
  const { code, stdout, stderr } = await (await startTraining(args, options)).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  // The software driver spoils the status of about 3 processes in 1,000 when they end.
  const finished = code === 134 && err === "";
  return { status: finished ? 0 : code, stdout: out!, stderr: err! };
}

/** All of a run that must not depend on how often it was interrupted. */
export async function outcome(root: string, name: string): Promise<unknown> {
  const run = await Run.open(root, name);
  const steps = await run.steps();
  const last = await run.checkpoint("last");
  const metrics = (await run.metrics()).map(({ tokens_per_second: _, ...record }) => record);
  const folder = `${root}/${name}/checkpoints/${last.step}`;
  const { createdAt: _, ...info } = run.info;
  return {
    info,
    steps,
    current: await run.currentStep(),
    score: last.manifest.score,
    metrics,
    samples: await Deno.readTextFile(`${root}/${name}/samples.txt`).catch(() => ""),
    // With the size and the hash of each file, which opening has just compared.
    files: last.manifest.files,
    names: (await filesIn(folder)).map((path) => path.slice(folder.length)),
  };
}

/** What there is below a folder but prepared data, locks and nothing: paths, sorted. */
export async function leftIn(root: string): Promise<string[]> {
  const paths = await filesIn(root).catch(() => [] as string[]);
  return paths.map((path) => path.slice(root.length + 1)).filter((path) =>
    !path.startsWith(".data/")
  );
}

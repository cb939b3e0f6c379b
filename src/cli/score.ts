/**
 * `brachio score`: the rewards that a reward model gives to responses, a line of JSON each.
 *
 * @module
 */
import { CannotError, orCannot } from "../config/cannot.ts";
import { type Demonstration, readDemonstrations } from "../data/instruct.ts";
import { refusal } from "../data/instruct_rows.ts";
import { rewardHeadFromJson } from "../data/reward_head.ts";
import type { RowFault } from "../data/tables.ts";
import { Device } from "../gpu/device.ts";
import { ActivationPool } from "../gpu/pool.ts";
import { TaskScorer } from "../infer/task_scorer.ts";
import { configFromJson } from "../model/config_json.ts";
import { scoreSpec } from "../model/heads.ts";
import { Weights } from "../model/parameters.ts";
import { encodeDialogue } from "../prompt/dialogue.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { listRuns, Run, runsRoot } from "../run/run_folder.ts";
import { loadTokenizer } from "../tokenizer/file.ts";
import { loadWeights } from "../train/checkpoint.ts";
import { scoresOf } from "../train/reward_score.ts";
import { scoreShape } from "../train/reward_step.ts";
import { UsageError } from "./errors.ts";
import { faultWords } from "./stage_run.ts";

/** Options of `brachio score`, as the command line gives them. */
export interface ScoreCommand {
  /** A file of prompts with their responses. */
  data?: string;
  /** One prompt. */
  prompt?: string;
  /** Its responses. */
  response?: string[];
  /** A file for the lines. */
  out?: string;
  /** Name of the run; else the newest reward model. */
  run?: string;
  /** Folder of all runs. */
  runs?: string;
  /** Which checkpoint of the run. */
  checkpoint: number | "current" | "last" | "best";
  /** Responses of a batch. */
  batchRows: number;
  /** Leaves bad rows out and lists them. */
  skipBad?: boolean;
  /** False: without the subgroups feature. */
  subgroups: boolean;
  /** False: without the shader-f16 feature. */
  f16: boolean;
}

/** Scores all responses, and returns the exit status. */
export async function score(options: ScoreCommand): Promise<number> {
  if (options.batchRows < 1) throw new UsageError("--batch-rows must be 1 or more: got 0");
  const root = runsRoot(options.runs);
  const run = options.run === undefined
    ? await newestReward(root)
    : await Run.open(root, options.run);
  if (run.info.stage !== "reward") {
    const state = `its stage is ${run.info.stage}`;
    throw new CannotError(`score with run "${run.name}"`, "want a reward model", state);
  }
  const checkpoint = await run.checkpoint(options.checkpoint);
  const { maxTokens, bias } = rewardHeadFromJson(await checkpoint.json("head.json"));
  const tokenizer = loadTokenizer(await checkpoint.text("tokenizer.json"));
  const rows: { line: number; ids: Uint32Array<ArrayBuffer> }[] = [];
  const bad: RowFault[] = [];
  for (const { line, messages } of await demonstrationsOf(options)) {
    try {
      const { ids } = encodeDialogue(tokenizer, messages);
      if (ids.length <= maxTokens) rows.push({ line, ids });
      else {bad.push({
          line,
          want: `want at most ${maxTokens} tokens`,
          state: `it has ${ids.length}`,
        });}
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      bad.push({ line, want: "want a text that can be encoded", state: error.message });
    }
  }
  if (bad.length > 0 && !options.skipBad) throw refusal(options.data ?? "--response", bad);
  for (const fault of bad) sayBad(fault);
  if (rows.length === 0) {
    const path = options.data ?? "--response";
    throw new CannotError(`score ${path}`, "want responses", "all of them are bad");
  }
  const device = await Device.open({ subgroups: options.subgroups, f16: options.f16 });
  try {
    const scores = await scoreWith(
      device,
      checkpoint,
      rows.map(({ ids }) => ids),
      options.batchRows,
    );
    const rewards = scores.map((value) => value + bias);
    await writeLines(options.out, rows.map(({ line }, i) => ({ line, reward: rewards[i]! })));
    const mean = rewards.reduce((sum, reward) => sum + reward, 0) / rewards.length;
    const words = `${rewards.length} ${rewards.length === 1 ? "response" : "responses"}`;
    console.error(
      `brachio: ${run.name}, step ${checkpoint.step}: ${words}, mean reward ${mean.toFixed(4)}`,
    );
    return 0;
  } finally {
    device.close();
  }
}

async function demonstrationsOf(
  { data, prompt, response, skipBad = false }: ScoreCommand,
): Promise<readonly Demonstration[]> {
  const isOne = prompt !== undefined && response !== undefined;
  if ((data === undefined) !== isOne || (data !== undefined && (prompt ?? response))) {
    throw new UsageError("score wants --data, or --prompt and --response");
  }
  if (data !== undefined) {
    const { examples, bad } = await readDemonstrations(data, { skipBad });
    for (const fault of bad) sayBad(fault);
    return examples;
  }
  // As files are read: without the white space around texts.
  return response!.map((text, i) => ({
    line: i + 1,
    messages: [
      { role: "user", content: prompt!.trim() },
      { role: "assistant", content: text.trim() },
    ],
  }));
}

function sayBad(fault: RowFault): void {
  console.error(`brachio: left out ${faultWords(fault)}`);
}

async function newestReward(root: string): Promise<Run> {
  for (const run of await listRuns(root)) {
    if (run.info.stage === "reward" && await run.currentStep() !== undefined) return run;
  }
  throw new CannotError(`find a run in ${root}`, "want a reward model", "there is none");
}

async function scoreWith(
  device: Device,
  checkpoint: Checkpoint,
  dialogues: readonly Uint32Array<ArrayBuffer>[],
  batchRows: number,
): Promise<Float64Array> {
  const config = configFromJson(await checkpoint.json("config.json"));
  const rows = Math.min(batchRows, dialogues.length);
  const heads = [scoreSpec(scoreShape(1), config.channels)];
  const weights = new Weights(device, config, { trainable: false, heads });
  const pool = new ActivationPool(device);
  const scorer = new TaskScorer(device, weights, scoreShape(rows), pool);
  try {
    loadWeights(device, checkpoint, weights);
    return await scoresOf(scorer, dialogues, { rows, contextLength: config.contextLength });
  } finally {
    scorer.destroy();
    pool.destroy();
    weights.destroy();
  }
}

async function writeLines(
  out: string | undefined,
  lines: readonly { line: number; reward: number }[],
): Promise<void> {
  const text = lines
    .map(({ line, reward }) => JSON.stringify({ line, reward: Number(reward.toFixed(6)) }) + "\n")
    .join("");
  if (out !== undefined) {
    await orCannot(`write ${out}`, "want a file", () => Deno.writeTextFile(out, text));
    return;
  }
  let bytes = new TextEncoder().encode(text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error; // nobody reads any more
  }
}

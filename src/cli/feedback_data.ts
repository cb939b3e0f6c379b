/**
 * `--from-feedback` of the training commands: what people said of served texts, as files beside the
 * runs. The new run names these files, so that it can be resumed as any other.
 *
 * @module
 */
import { join } from "node:path";
import { CannotError } from "../config/cannot.ts";
import { openDatabase } from "../feedback/database.ts";
import { FeedbackStore } from "../feedback/feedback_store.ts";
import {
  type Snapshot,
  snapshotComparisons,
  snapshotCorrections,
  type SnapshotOptions,
  snapshotPrompts,
} from "../feedback/snapshot.ts";
import { TrustedData } from "../feedback/trusted_data.ts";
import { exists } from "../run/atomic.ts";
import { listRuns, runsRoot } from "../run/run_folder.ts";
import { UsageError } from "./errors.ts";

/** What a stage learns from feedback. */
export type FeedbackStage = "sft" | "reward" | "dpo" | "ppo";

/** Options of a command that may learn from feedback. */
export interface FeedbackChoice {
  /** The database of a server, or `true`: that of the folder of runs. */
  fromFeedback?: string | true;
  /** The file to train on. */
  data?: string;
  /** The file to evaluate on. */
  dev?: string;
  /** Who rewards. */
  reward?: string;
  /** Folder of all runs. */
  runs?: string;
  /** Run to go on with. */
  resume?: string;
}

/**
 * Options with the files of feedback in them, where it was asked for. PPO is rewarded by the newest
 * reward model, unless it is told by whom.
 *
 * @param options of the command
 * @param stage `sft` has corrections, `ppo` prompts, the others comparisons that can be trusted
 * @param say prints a line
 * @throws {UsageError} When files are named, too, or a run that has its own.
 * @throws {CannotError} When there is no database, or nothing in it for the stage.
 */
export async function withFeedback<O extends FeedbackChoice>(
  options: O,
  stage: FeedbackStage,
  say: (line: string) => void = console.log,
): Promise<O> {
  const { fromFeedback, ...rest } = options;
  if (fromFeedback === undefined) return options;
  for (const flag of ["data", "dev", "resume"] as const) {
    if (options[flag] === undefined) continue;
    throw new UsageError(`--from-feedback cannot go with --${flag}: it has its own data`);
  }
  const root = runsRoot(options.runs);
  const path = fromFeedback === true ? join(root, "brachio.sqlite") : fromFeedback;
  const act = `train ${stage} on feedback`;
  if (!await exists(path)) throw new CannotError(act, `want a database ${path}`, "there is none");
  const { train, valid, datasetVersion, withoutPrompt, distrusted } = await snapshot(path, stage, {
    root,
    folder: join(root, ".data", "feedback"),
  });
  const hidden = withoutPrompt > 0
    ? `; ${withoutPrompt} records are left out, as texts of prompts are not kept (--store-prompts)`
    : "";
  const guarded = distrusted > 0 ? `; ${distrusted} pairs are left out by the guards` : "";
  if (!train) {
    const want = `want ${stage === "sft" ? "corrections" : "comparisons"} in ${path}`;
    throw new CannotError(act, want, `there are none${hidden}${guarded}`);
  }
  say(
    `feedback after ${datasetVersion} changes: ${train.rows} rows to train on, ` +
      `${valid?.rows ?? 0} held out${hidden}${guarded}`,
  );
  const reward = stage === "ppo" && options.reward === undefined
    ? { reward: await newestReward(root) }
    : {};
  const dev = valid === undefined ? {} : { dev: valid.path };
  return { ...rest, ...reward, data: train.path, ...dev } as unknown as O;
}

async function snapshot(
  path: string,
  stage: FeedbackStage,
  options: SnapshotOptions,
): Promise<Snapshot> {
  const database = openDatabase(path);
  const store = new FeedbackStore(database);
  try {
    if (stage === "sft") return await snapshotCorrections(store, options);
    if (stage === "ppo") return await snapshotPrompts(store, options);
    return await snapshotComparisons(new TrustedData(store), options);
  } finally {
    store.close();
    database.close();
  }
}

async function newestReward(root: string): Promise<string> {
  for (const run of await listRuns(root)) {
    if (run.info.stage === "reward" && await run.currentStep() !== undefined) return run.name;
  }
  throw new CannotError("train ppo on feedback", "want a reward model", `there is none in ${root}`);
}

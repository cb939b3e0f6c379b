/**
 * `brachio train ppo`: trains a run's decoder on the rewards of its own responses.
 *
 * @module
 */
import { resolve } from "node:path";
import { CannotError } from "../config/cannot.ts";
import { loadConfig } from "../config/config.ts";
import { runsRoot, type RunWriter, type Which } from "../run/run_folder.ts";
import {
  checkPpoConfig,
  fixedPpoDifferences,
  type PpoConfig,
  ppoSchema,
  rewardKind,
} from "../train/ppo_config.ts";
import type { HostedCommand } from "./host.ts";
import { openPast } from "./stage_run.ts";
import { usage } from "./train.ts";

/** Options of `brachio train ppo`, as the command line gives them. */
export interface PpoCommand extends HostedCommand {
  /** The file of prompts. */
  data?: string;
  /** The file of prompts to evaluate on. */
  dev?: string;
  /** Who rewards: a run, a TypeScript file or a URL. */
  reward?: string;
  /** Pre-training text to mix in. */
  ptx?: string[];
  /** The run to start from; else the newest. */
  from?: string;
  /** Which of its checkpoints. */
  checkpoint: Which;
  /** Leaves bad rows out and lists them. */
  skipBad?: boolean;
  /** Rounds of rollout and updates. */
  iterations?: number;
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

/** What a run has of its own, and cannot be given again. */
const OWN = ["data", "dev", "reward", "ptx", "from", "config", "name"] as const;

/** Trains to the end, or until Ctrl-C, and returns the exit status. */
export async function trainPpo(options: PpoCommand): Promise<number> {
  const root = runsRoot(options.runs);
  using cleanup = new DisposableStack();
  const past = await openPast(root, options, { stage: "ppo", words: "PPO", own: OWN });
  if (past) cleanup.defer(() => past.close());
  await resolveConfig(options, past);
  throw new CannotError("train ppo", "want the stage", "it comes with the next version");
}

async function resolveConfig(
  options: PpoCommand,
  past: RunWriter | undefined,
): Promise<PpoConfig> {
  const { data, dev, reward, ptx, skipBad, iterations, config: file, set = [] } = options;
  const given = { data, dev, reward, ptx, iterations, ...(skipBad ? { skipBad } : {}) };
  const flags = Object.entries(given).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${JSON.stringify(value)}`]
  );
  const config = withFullPaths(
    await loadConfig(ppoSchema, { base: past?.info.config, file, set: [...set, ...flags] }),
  );
  await usage(() => checkPpoConfig(config));
  if (!past) return config;
  const changed = fixedPpoDifferences(ppoSchema.parse(past.info.config), config);
  if (changed.length === 0) return config;
  throw new CannotError(
    `go on with run "${past.name}"`,
    "want the data, the reward and the settings that it began with",
    `another ${changed.join(", ")}`,
  );
}

/** Paths in `run.json` mean the same from any folder. */
function withFullPaths(config: PpoConfig): PpoConfig {
  const { data, dev, reward, ptx } = config;
  return {
    ...config,
    data: resolve(data),
    ...(dev === undefined ? {} : { dev: resolve(dev) }),
    reward: rewardKind(reward) === "function" ? resolve(reward) : reward,
    ptx: ptx.map((path) => resolve(path)),
  };
}

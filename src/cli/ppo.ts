/**
 * `brachio train ppo`: trains a run's decoder on the rewards of its own responses.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { CannotError, orCannot } from "../config/cannot.ts";
import { loadConfig } from "../config/config.ts";
import { parameterCount } from "../model/parameters.ts";
import { runsRoot, RunWriter, type Which } from "../run/run_folder.ts";
import { ppo } from "../train/ppo.ts";
import {
  checkPpoConfig,
  fixedPpoDifferences,
  type PpoConfig,
  ppoSchema,
  rewardKind,
} from "../train/ppo_config.ts";
import type { PpoMetrics } from "../train/ppo_events.ts";
import {
  logPpoEvent,
  openPpo,
  openReference,
  type PreparedPpo,
  preparePpo,
} from "../train/ppo_run.ts";
import type { Ppo } from "../train/ppo_training.ts";
import { checkSameBits, takeBack } from "../train/pretrain_run.ts";
import { stageInfo } from "../train/stage_info.ts";
import { type HostedCommand, say, type StageHost, stageHost } from "./host.ts";
import { checkSameFiles, leftOutLines, newName, openParent, openPast } from "./stage_run.ts";
import { checkMemory, stopOnSignals, usage } from "./train.ts";

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
  using cleanup = new DisposableStack();
  const root = runsRoot(options.runs);
  const past = await openPast(root, options, { stage: "ppo", words: "PPO", own: OWN });
  if (past) cleanup.defer(() => past.close());
  const asked = await resolveConfig(options, past);
  const isSaved = past !== undefined && (await past.steps()).length > 0;
  const checkpoint = isSaved ? await past.checkpoint("last") : undefined;
  const from = past
    ? { checkpoint: await openReference(root, past), lineage: past.info.parent }
    : await openParent(root, options, past);
  const prepared = await usage(() =>
    preparePpo(asked, { root, parent: from.checkpoint!, cacheFolder: join(root, ".data") })
  );
  cleanup.defer(() => prepared.close());
  const { config } = prepared;
  const name = past?.name ?? await orCannot(
    `make a run in ${root}`,
    "want a folder",
    () => newName(root, "ppo", options.name),
  );

  const host = await stageHost(options, cleanup);
  const { device } = host;
  const info = stageInfo("ppo", device, { config, parent: from.lineage, data: prepared.sources });
  if (past) {
    checkSameBits(past, info);
    checkSameFiles(past, info);
  }
  checkMemory(device, prepared.model, memoryOf(prepared));
  const open = await usage(() => openPpo(device, prepared, { checkpoint }));
  cleanup.defer(() => open.destroy());
  const { state } = open;
  const begins = state.step > 0
    ? `goes on after iteration ${state.step}`
    : `begins with ${from.lineage!.run}`;
  say(host, `${join(root, name)}: ${begins}: ${words(prepared, open.reward.words)}`);
  for (const file of prepared.data.files) {
    for (const line of leftOutLines(file, prepared.data.maxPromptTokens)) say(host, line);
  }

  cleanup.defer(stopOnSignals(state));
  const run = past ?? await RunWriter.create(root, name, info);
  if (past) await takeBack(past, checkpoint, config);
  else cleanup.defer(() => run.close());
  return await drive(state, run, host);
}

/** Weights of all models, and what trains them, in copies of the policy's weights. */
function memoryOf({ model, data, rewardModel }: PreparedPpo): { copies: number; words: string } {
  const policy = data.ptx ? 7 : 6; // weights, gradients, moments, average, reference, PPO's gradient
  const value = 4 + (rewardModel ? 1 : 0);
  const size = parameterCount(rewardModel?.model ?? model) / parameterCount(model);
  const words = "policy, average, reference, value model and reward model";
  return { copies: policy + value * size, words };
}

function words({ config, data }: PreparedPpo, reward: string): string {
  const { iterations, batchRows, miniRows, ppoEpochs, ptxCoef, ptxRatio, klCoef } = config;
  const mix = data.ptx
    ? `${data.ptx.train.count.toLocaleString("en")} tokens of pre-training mixed in, ${ptxRatio} ` +
      `rows an episode, gradients × ${ptxCoef}`
    : "no pre-training mixed in";
  return `${data.train.length} prompts to train on, ${data.dev.length} to evaluate on, ` +
    `${iterations} iterations of ${batchRows} episodes (${miniRows} an update, ${ppoEpochs} ` +
    `${ppoEpochs === 1 ? "pass" : "passes"}), rewarded by ${reward}, klCoef ${klCoef}, ${mix}`;
}

/** Runs the stage, writing metrics, samples and reports. */
async function drive(state: Ppo, run: RunWriter, host: StageHost): Promise<number> {
  const { iterations } = state.options.config;
  for await (const event of ppo(state, run)) {
    await logPpoEvent(run, event);
    if (event.kind === "step") say(host, iterationLine(event.step, iterations, event.metrics));
    if (event.kind === "diagnosis") say(host, `iteration ${event.step}: ${event.text}`);
    if (event.kind === "evaluation") {
      const { "eval/scores": scores, "eval/kl": kl, "eval/ended": ended } = event.metrics;
      say(
        host,
        `iteration ${event.step}: held-out prompts: score ${scores.toFixed(4)}, divergence ` +
          `${kl.toFixed(3)} nats, ${Math.round(100 * ended)} % end by themselves`,
      );
    }
    if (event.kind === "sample") say(host, event.text);
    if (event.kind === "saved") {
      say(host, `iteration ${event.step}: saved ${join(run.path, "checkpoints", `${event.step}`)}`);
      await drawReport(run, host);
    }
  }
  if (state.step >= iterations) {
    say(host, `finished ${state.step} iterations: ${join(run.path, "report.html")}`);
    return 0;
  }
  say(
    host,
    `stopped after iteration ${state.step}; go on with: ` +
      (host.goOn ?? `./brachio train ppo --resume ${run.name}` +
          (run.root === runsRoot() ? "" : ` --runs ${run.root}`)),
  );
  return 130;
}

/** An iteration in a line. */
function iterationLine(step: number, iterations: number, metrics: PpoMetrics): string {
  const percent = (share: number) => `${Math.round(100 * share)} %`;
  const ratio = metrics["grad_norm/ptx_ratio"];
  const mix = ratio === undefined
    ? ""
    : `  ptx loss ${metrics["loss/ptx_avg"]!.toFixed(4)} (gradient ${ratio.toFixed(2)} × PPO's)`;
  return `iteration ${step}/${iterations}  score ${metrics["objective/scores"].toFixed(4)}  ` +
    `KL ${metrics["objective/kl"].toFixed(3)} × ${metrics["objective/kl_coef"].toPrecision(3)}  ` +
    `value loss ${metrics["loss/value_avg"].toFixed(4)}  ` +
    `clipped ${percent(metrics["policy/clipfrac_avg"])}${mix}  ` +
    `${metrics.rollout_tokens_per_second.toLocaleString("en")} tokens/s  ` +
    `rollout ${percent(metrics["time/rollout"])}, scoring ${percent(metrics["time/scoring"])}, ` +
    `update ${percent(metrics["time/update"])} of ` +
    `${(metrics["time/iteration_ms"] / 1000).toFixed(1)} s`;
}

/** Draws the run as it is now; training goes on where that fails. */
async function drawReport(run: RunWriter, host: StageHost): Promise<void> {
  try {
    const { writeReport } = await import("../run/report.ts"); // large, and only needed here
    await writeReport(run);
  } catch (error) {
    say(host, `no report: ${error instanceof Error ? error.message : error}`);
  }
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

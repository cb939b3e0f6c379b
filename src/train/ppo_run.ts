/**
 * What a run of PPO is made of, found by the names in its configuration: for the command line as
 * for a job.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import type { Device } from "../gpu/device.ts";
import type { Turns } from "../gpu/turns.ts";
import type { ModelConfig } from "../model/config.ts";
import { configFromJson } from "../model/config_json.ts";
import { DIALOGUE_TOKENS } from "../prompt/dialogue.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { Run, type RunInfo, type RunWriter } from "../run/run_folder.ts";
import { addSample } from "../run/samples.ts";
import { loadTokenizer } from "../tokenizer/file.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { type PpoConfig, rewardKind } from "./ppo_config.ts";
import { loadPpoData, type PpoData } from "./ppo_data.ts";
import type { PpoEvent } from "./ppo_events.ts";
import { FunctionReward, HttpReward, type RewardSource } from "./ppo_reward.ts";
import { ModelReward, openRewardModel, type RewardModel } from "./ppo_reward_model.ts";
import { Ppo } from "./ppo_training.ts";
import { tokenizerFiles } from "./pretrain_data.ts";
import { dialogueTokenizerFiles, fileHash } from "./sft_data.ts";

/** Everything that needs no GPU. */
export interface PreparedPpo {
  /** With the reward model's step, where the reward is one. */
  readonly config: PpoConfig;
  /** The reference, and where the policy starts. */
  readonly parent: Checkpoint;
  /** The policy's decoder. */
  readonly model: ModelConfig;
  /** With the tokens of the template. */
  readonly tokenizer: Tokenizer;
  /** Prompts and text. */
  readonly data: PpoData;
  /** Where the reward is one. */
  readonly rewardModel: RewardModel | undefined;
  /** For `run.json`: what decides the weights, by SHA-256. */
  readonly sources: RunInfo["data"];
  /** Gives files back. */
  close(): void;
}

/**
 * Reads prompts, text and the reward model's lineage.
 *
 * @param options `root`: of all runs; `cacheFolder`: where prepared text stays
 * @throws {CannotError} When one of them cannot be had.
 */
export async function preparePpo(
  config: PpoConfig,
  options: { root: string; parent: Checkpoint; cacheFolder: string },
): Promise<PreparedPpo> {
  const { root, parent, cacheFolder } = options;
  const isDialogue = config.template === "dialogue";
  const own = loadTokenizer(await parent.text("tokenizer.json"));
  const tokenizer = isDialogue ? own.withSpecialTokens(DIALOGUE_TOKENS) : own;
  const parsed = configFromJson(await parent.json("config.json"));
  const model = { ...parsed, vocabSize: Math.max(parsed.vocabSize, tokenizer.vocabSize) };
  const isModel = rewardKind(config.reward) === "run";
  const rewardModel = isModel ? await openRewardModel(root, config.reward, tokenizer) : undefined;
  const rewardHash = rewardModel?.weights ??
    (rewardKind(config.reward) === "function" ? await fileHash(config.reward) : undefined);
  const { contextLength } = model;
  const data = await loadPpoData(config, { tokenizer, contextLength, cacheFolder });
  const tokens = [...data.train, ...data.dev].reduce((sum, { ids }) => sum + ids.length, 0);
  const reward = rewardModel?.name ?? config.reward;
  return {
    config: { ...config, reward },
    parent,
    model,
    tokenizer,
    data,
    rewardModel,
    sources: [
      ...data.files.map(({ path: name, sha256 }, i) => ({
        name,
        sha256,
        tokens: i === 0 ? tokens : 0,
      })),
      ...(data.ptx
        ? [{
          name: config.ptx.join(", "),
          sha256: data.ptx.info.sha256,
          tokens: data.ptx.train.count,
        }]
        : []),
      ...(rewardHash === undefined ? [] : [{ name: reward, sha256: rewardHash, tokens: 0 }]),
    ],
    close: () => data.ptx?.close(),
  };
}

/** The stage and its reward on a device; who opens them closes them. */
export interface OpenPpo {
  /** Weights and moments. */
  readonly state: Ppo;
  /** Who rewards. */
  readonly reward: RewardSource;
  /** Gives the GPU's memory back. */
  destroy(): void;
}

/**
 * Makes models of what was prepared, or goes on from a checkpoint.
 *
 * @param options `checkpoint`: to go on from; `turns`: when parts of it may be submitted
 * @throws {CannotError} When a checkpoint does not fit, or the reward cannot be opened.
 */
export async function openPpo(
  device: Device,
  prepared: PreparedPpo,
  { checkpoint, turns }: { checkpoint?: Checkpoint | undefined; turns?: Turns | undefined } = {},
): Promise<OpenPpo> {
  const { config, parent, model, tokenizer, data, rewardModel } = prepared;
  const isDialogue = config.template === "dialogue";
  const reward = await openReward(device, prepared, { isDialogue, turns });
  try {
    const state = await Ppo.open({
      device,
      config,
      model,
      data,
      tokenizer,
      tokenizerFiles: isDialogue
        ? dialogueTokenizerFiles(tokenizer, model)
        : tokenizerFiles(tokenizer, model),
      parent,
      value: rewardModel
        ? {
          model: rewardModel.model,
          checkpoint: rewardModel.checkpoint,
          bias: rewardModel.head.bias,
        }
        : { model, checkpoint: undefined, bias: 0 },
      reward,
      checkpoint,
      turns,
    });
    const destroy = () => {
      state.destroy();
      reward.destroy();
    };
    return { state, reward, destroy };
  } catch (error) {
    reward.destroy();
    throw error;
  }
}

async function openReward(
  device: Device,
  { config, tokenizer, rewardModel }: PreparedPpo,
  { isDialogue, turns }: { isDialogue: boolean; turns: Turns | undefined },
): Promise<RewardSource> {
  const { reward, rewardTimeoutMs: timeoutMs, miniRows, microRows = miniRows } = config;
  if (rewardModel) {
    const rows = microRows;
    return new ModelReward(device, rewardModel, { tokenizer, isDialogue, rows, turns });
  }
  return rewardKind(reward) === "http"
    ? new HttpReward(reward, { timeoutMs })
    : await FunctionReward.open(reward);
}

/**
 * The checkpoint that a run began with, which is its reference for all of its life.
 *
 * @throws {CannotError} When it is gone, or another one now.
 */
export async function openReference(
  root: string,
  { name, info }: Pick<Run, "name" | "info">,
): Promise<Checkpoint> {
  const act = `go on with run "${name}"`;
  const { parent } = info;
  if (!parent) throw new CannotError(act, "want the run it began with", "it names none");
  const run = await Run.open(root, parent.run);
  const checkpoint = await run.checkpoint(parent.step);
  if (checkpoint.manifest.files["model.safetensors"]?.sha256 === parent.weights) return checkpoint;
  const want = `want the weights it began with in ${checkpoint.path}, its reference`;
  throw new CannotError(act, want, "they have changed");
}

/** Writes what happened to the run: metrics, or samples. */
export async function logPpoEvent(run: RunWriter, event: PpoEvent): Promise<void> {
  const { step } = event;
  if (event.kind === "step") run.log({ step, ...event.metrics });
  if (event.kind === "evaluation") run.log({ step, ...event.metrics });
  if (event.kind === "diagnosis") run.log({ step, diagnosis: event.text });
  if (event.kind === "sample") await addSample(run, step, event.text);
}

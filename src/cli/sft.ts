/**
 * `brachio train sft`: fine-tunes a run's decoder to answer as an assistant, on dialogues.
 *
 * Whatever can be wrong with the command or its data is found before a run is made. It ends with
 * status 0 when the training is finished, 130 when it was interrupted and can go on, and 2 when the
 * user can cure what is wrong.
 *
 * @module
 */
import { resolve } from "node:path";
import { loadConfig } from "../config/config.ts";
import { CannotError } from "../config/cannot.ts";
import type { ModelConfig } from "../model/config.ts";
import { parameterCount } from "../model/parameters.ts";
import { openRewardModel, type RewardModel } from "../train/ppo_reward_model.ts";
import { rowTokens, Sft, type SftEvaluation, sftRows } from "../train/sft.ts";
import { checkPretrainShare, type SftConfig, sftSchema } from "../train/sft_config.ts";
import { dialogueTokenizerFiles, loadSftData, type SftData } from "../train/sft_data.ts";
import type { AnswerRewards } from "../train/sft_reward.ts";
import type { SftResult } from "../train/sft_step.ts";
import { UsageError } from "./errors.ts";
import { type StageCommand, type StageData, type StageKind, trainStage } from "./stage.ts";

/** Options of `brachio train sft`, as the command line gives them. */
export interface SftCommand extends StageCommand {
  /** Lets dialogues share rows. */
  packing?: boolean;
  /** The reward model that chooses the best checkpoint: `name` or `name@step`. */
  reward?: string;
}

/** Trains to the end, or until Ctrl-C, and returns the exit status. */
export async function trainSft(options: SftCommand): Promise<number> {
  const { packing, reward, set = [], ...rest } = options;
  if (reward !== undefined && rest.resume !== undefined) {
    throw new UsageError("--reward cannot go with --resume: the run has its own");
  }
  const flags = [
    ...(packing ? ["packing=true"] : []),
    ...(reward === undefined ? [] : [`reward=${JSON.stringify(reward)}`]),
  ];
  return await trainStage(KIND, { ...rest, set: [...set, ...flags] });
}

/** Dialogues, and who judges answers to those that are held out. */
type JudgedData = SftData & StageData & { readonly reward: RewardModel | undefined };

const KIND: StageKind<SftConfig, JudgedData, SftResult, SftEvaluation, Sft> = {
  name: "sft",

  async resolve(sources) {
    const config = await loadConfig(sftSchema, sources);
    return { ...config, pretrainData: config.pretrainData.map((path) => resolve(path)) };
  },

  check: checkPretrainShare,

  async load(config, options) {
    const { tokenizer, root, model } = options;
    const reward = config.reward === undefined
      ? undefined
      : await openRewardModel(root, config.reward, tokenizer);
    const data = await loadSftData(config, options);
    const { train, dev, pretrain } = data;
    const tokensOf = (part: SftData["train"]) => part.reduce((sum, { ids }) => sum + ids.length, 0);
    const own = [...train, ...dev].reduce(
      (sum, { isResponse }) => sum + isResponse.reduce((a, b) => a + b, 0),
      0,
    );
    const tokens = tokensOf(train) + tokensOf(dev);
    if (reward && dev.length === 0) {
      pretrain?.close();
      const state = "nothing is held out";
      throw new CannotError(`choose by the reward of ${reward.name}`, "want prompts", state);
    }
    const text = pretrain ? `, ${pretrain.train.count.toLocaleString("en")} of text` : "";
    return {
      ...data,
      tokens,
      rowTokens: Math.ceil(tokensOf(train) / train.length),
      sources: [
        ...(pretrain
          ? [{
            name: config.pretrainData.join(", "),
            sha256: pretrain.info.sha256,
            tokens: pretrain.train.count,
          }]
          : []),
        ...(reward ? [{ name: reward.name, sha256: reward.weights, tokens: 0 }] : []),
      ],
      words: `${train.length} dialogues to train on, ${dev.length} to evaluate on, ` +
        `${own.toLocaleString("en")} of ${
          tokens.toLocaleString("en")
        } tokens are responses${text}` +
        packedWords(train, config, model) +
        (reward ? `, the best checkpoint chosen by ${reward.name}` : ""),
      ...(reward ? judged(reward, model) : {}),
      reward,
      close: () => pretrain?.close(),
    };
  },

  open({ tokenizer, ...parts }, data) {
    const tokenizerFiles = dialogueTokenizerFiles(tokenizer, parts.model);
    const judge = data.reward && { reward: data.reward, tokenizer };
    return Sft.open({ ...parts, data, tokenizerFiles, judge });
  },

  stepMetrics: ({ responseTokens }) => ({ "train/response_tokens": responseTokens }),

  evaluation: ({ perplexity, tokens, rewarded }) => ({
    metrics: {
      "val/perplexity": perplexity,
      ...(rewarded ? { "val/reward": rewarded.reward, "val/ended": rewarded.ended } : {}),
    },
    line: `perplexity ${perplexity.toFixed(2)} (${tokens} tokens of responses)` +
      (rewarded ? rewardWords(rewarded) : ""),
  }),
};

function rewardWords({ reward, ended, answers }: AnswerRewards): string {
  return `, reward ${reward.toFixed(4)} (${answers} answers, ${Math.round(100 * ended)} % end by ` +
    "themselves)";
}

/** What a judge settles. */
function judged(
  { name, model: own }: RewardModel,
  model: ModelConfig,
): Pick<StageData, "settings" | "memory"> {
  const copies = 4 + parameterCount(own) / parameterCount(model);
  const words = "weights, gradients, both moments and the reward model";
  return { settings: { reward: name }, memory: { copies, words } };
}

/** What packing makes of the dialogues to train on. */
function packedWords(
  train: SftData["train"],
  config: SftConfig,
  model: ModelConfig,
): string {
  if (!config.packing) return "";
  const T = rowTokens(config, model);
  const rows = sftRows(train, config, model).length;
  const live = train.reduce((sum, { ids }) => sum + ids.length, 0);
  const padding = (100 * (1 - live / (rows * T))).toFixed(1);
  return `, packed into ${rows} rows of ${T} tokens, ${padding} % of them padding`;
}

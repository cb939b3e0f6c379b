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
import type { ModelConfig } from "../model/config.ts";
import { rowTokens, Sft, type SftEvaluation, sftRows } from "../train/sft.ts";
import { checkPretrainShare, type SftConfig, sftSchema } from "../train/sft_config.ts";
import { dialogueTokenizerFiles, loadSftData, type SftData } from "../train/sft_data.ts";
import type { SftResult } from "../train/sft_step.ts";
import { type StageCommand, type StageData, type StageKind, trainStage } from "./stage.ts";

/** Options of `brachio train sft`, as the command line gives them. */
export interface SftCommand extends StageCommand {
  /** Lets dialogues share rows. */
  packing?: boolean;
}

/** Trains to the end, or until Ctrl-C, and returns the exit status. */
export function trainSft({ packing, set = [], ...options }: SftCommand): Promise<number> {
  return trainStage(KIND, { ...options, set: [...set, ...(packing ? ["packing=true"] : [])] });
}

const KIND: StageKind<SftConfig, SftData & StageData, SftResult, SftEvaluation, Sft> = {
  name: "sft",

  async resolve(sources) {
    const config = await loadConfig(sftSchema, sources);
    return { ...config, pretrainData: config.pretrainData.map((path) => resolve(path)) };
  },

  check: checkPretrainShare,

  async load(config, options) {
    const data = await loadSftData(config, options);
    const { train, dev, pretrain } = data;
    const tokensOf = (part: SftData["train"]) => part.reduce((sum, { ids }) => sum + ids.length, 0);
    const own = [...train, ...dev].reduce(
      (sum, { isResponse }) => sum + isResponse.reduce((a, b) => a + b, 0),
      0,
    );
    const tokens = tokensOf(train) + tokensOf(dev);
    const text = pretrain ? `, ${pretrain.train.count.toLocaleString("en")} of text` : "";
    return {
      ...data,
      tokens,
      rowTokens: Math.ceil(tokensOf(train) / train.length),
      sources: pretrain
        ? [{
          name: config.pretrainData.join(", "),
          sha256: pretrain.info.sha256,
          tokens: pretrain.train.count,
        }]
        : [],
      words: `${train.length} dialogues to train on, ${dev.length} to evaluate on, ` +
        `${own.toLocaleString("en")} of ${
          tokens.toLocaleString("en")
        } tokens are responses${text}` +
        packedWords(train, config, options.model),
      close: () => pretrain?.close(),
    };
  },

  open({ tokenizer, ...parts }, data) {
    const tokenizerFiles = dialogueTokenizerFiles(tokenizer, parts.model);
    return Sft.open({ ...parts, data, tokenizerFiles });
  },

  stepMetrics: ({ responseTokens }) => ({ "train/response_tokens": responseTokens }),

  evaluation: ({ perplexity, tokens }) => ({
    metrics: { "val/perplexity": perplexity },
    line: `perplexity ${perplexity.toFixed(2)} (${tokens} tokens of responses)`,
  }),
};

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

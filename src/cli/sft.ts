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
import { Sft, type SftEvaluation } from "../train/sft.ts";
import { checkPretrainShare, type SftConfig, sftSchema } from "../train/sft_config.ts";
import { dialogueTokenizerFiles, loadSftData, type SftData } from "../train/sft_data.ts";
import type { SftResult } from "../train/sft_step.ts";
import { type StageCommand, type StageData, type StageKind, trainStage } from "./stage.ts";

/** Trains to the end, or until Ctrl-C, and returns the exit status. */
export function trainSft(options: StageCommand): Promise<number> {
  return trainStage(KIND, options);
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
        `${own.toLocaleString("en")} of ${tokens.toLocaleString("en")} tokens are responses${text}`,
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

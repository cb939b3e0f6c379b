/**
 * `brachio train reward`: trains a reward model on comparisons of responses.
 *
 * Whatever can be wrong with the command or its data is found before a run is made. It ends with
 * status 0 when the training is finished, 130 when it was interrupted and can go on, and 2 when the
 * user can cure what is wrong.
 *
 * @module
 */
import { loadConfig } from "../config/config.ts";
import type { EpochConfig } from "../train/epoch_config.ts";
import { type RewardEvaluation, RewardTraining } from "../train/reward.ts";
import { type RewardConfig, rewardSchema } from "../train/reward_config.ts";
import { loadRewardData, type RewardData } from "../train/reward_data.ts";
import type { Agreement, Agreements } from "../train/reward_score.ts";
import type { RewardResult } from "../train/reward_step.ts";
import { dialogueTokenizerFiles, type EncodeRowsOptions } from "../train/sft_data.ts";
import { type StageCommand, type StageData, type StageKind, trainStage } from "./stage.ts";

/** Trains to the end, or until Ctrl-C, and returns the exit status. */
export function trainReward(options: StageCommand): Promise<number> {
  return trainStage(KIND, options);
}

/** Values of a judge's confidence that are reported one by one. */
const MOST_CONFIDENCES = 12;

type Kind = StageKind<
  RewardConfig,
  RewardData & StageData,
  RewardResult,
  RewardEvaluation,
  RewardTraining
>;

const KIND: Kind = {
  name: "reward",
  resolve: (sources) => loadConfig(rewardSchema, sources),

  load: loadComparisonData,

  open({ tokenizer, ...parts }, data) {
    const tokenizerFiles = dialogueTokenizerFiles(tokenizer, parts.model);
    const padId = tokenizer.specialTokens.get("<|pad|>");
    return RewardTraining.open({ ...parts, data, tokenizerFiles, padId });
  },

  stepMetrics: ({ pairs }) => ({ "train/pairs": pairs }),

  evaluation: (event) => agreementMetrics(event, event.prompts),
};

/** Reads comparisons, and says what they amount to. @throws {CannotError} As loadRewardData. */
export async function loadComparisonData(
  config: EpochConfig,
  options: EncodeRowsOptions,
): Promise<RewardData & StageData> {
  const data = await loadRewardData(config, options);
  const { train, dev, ties, allTied, responses } = data;
  const rowsOf = (part: RewardData["train"]) => part.flatMap(({ rows }) => rows);
  const tokensOf = (part: RewardData["train"]) =>
    rowsOf(part).reduce((sum, row) => sum + row.length, 0);
  const pairs = [...train, ...dev].reduce((sum, example) => sum + example.pairs, 0);
  const tied = allTied > 0 ? `, ${allTied} prompts left out as all of theirs are` : "";
  return {
    ...data,
    tokens: tokensOf(train) + tokensOf(dev),
    rowTokens: Math.ceil(tokensOf(train) / rowsOf(train).length),
    words: `${train.length} prompts to train on, ${dev.length} to evaluate on, up to ` +
      `${responses} responses each, ${pairs} pairs, ${ties} dropped as ties${tied}`,
    close: () => {},
  };
}

/** What is told of how scores agree with a judge. */
export function agreementMetrics(
  event: Agreements,
  prompts: number,
): { metrics: Record<string, number>; line: string } {
  const { accuracy, margin, byConfidence } = event;
  const parts = byConfidence.size <= MOST_CONFIDENCES ? [...byConfidence] : [];
  const byName = parts.flatMap(([name, part]) => [
    [`val/accuracy/${name}`, part.accuracy],
    [`val/margin/${name}`, part.margin],
  ]);
  const own = parts.map(([name, part]) => `; confidence ${name}: ${agreementWords(part)}`);
  return {
    metrics: { "val/accuracy": accuracy, "val/margin": margin, ...Object.fromEntries(byName) },
    line: `${agreementWords(event)} of ${prompts} prompts${own.join("")}`,
  };
}

function agreementWords({ accuracy, margin, pairs }: Agreement): string {
  return `accuracy ${accuracy.toFixed(4)}, margin ${margin.toFixed(4)} (${pairs} pairs)`;
}

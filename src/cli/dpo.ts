/**
 * `brachio train dpo`: a policy learns from comparisons of responses, without a reward model.
 *
 * Whatever can be wrong with the command or its data is found before a run is made. It ends with
 * status 0 when the training is finished, 130 when it was interrupted and can go on, and 2 when the
 * user can cure what is wrong.
 *
 * @module
 */
import { loadConfig } from "../config/config.ts";
import { Dpo, type DpoEvaluation } from "../train/dpo.ts";
import { type DpoConfig, dpoSchema } from "../train/dpo_config.ts";
import type { DpoResult } from "../train/dpo_step.ts";
import type { RewardData } from "../train/reward_data.ts";
import { dialogueTokenizerFiles } from "../train/sft_data.ts";
import { agreementMetrics, loadComparisonData } from "./reward.ts";
import { type StageCommand, type StageData, type StageKind, trainStage } from "./stage.ts";

/** Trains to the end, or until Ctrl-C, and returns the exit status. */
export function trainDpo(options: StageCommand): Promise<number> {
  return trainStage(KIND, options);
}

const KIND: StageKind<DpoConfig, RewardData & StageData, DpoResult, DpoEvaluation, Dpo> = {
  name: "dpo",
  resolve: (sources) => loadConfig(dpoSchema, sources),
  load: loadComparisonData,

  open({ tokenizer, ...parts }, data) {
    const tokenizerFiles = dialogueTokenizerFiles(tokenizer, parts.model);
    return Dpo.open({ ...parts, data, tokenizerFiles });
  },

  // Names as in TRL's DPOTrainer.
  stepMetrics: ({ pairs, chosen, rejected, accuracy, chosenLogps, rejectedLogps }) => ({
    "train/pairs": pairs,
    "rewards/chosen": chosen,
    "rewards/rejected": rejected,
    "rewards/accuracies": accuracy,
    "rewards/margins": chosen - rejected,
    "logps/chosen": chosenLogps,
    "logps/rejected": rejectedLogps,
  }),

  evaluation(event) {
    const { metrics, line } = agreementMetrics(event, event.prompts);
    const { chosen, rejected } = event;
    return {
      metrics: {
        "val/rewards/chosen": chosen,
        "val/rewards/rejected": rejected,
        ...metrics,
      },
      line: `${line}, reward ${chosen.toFixed(4)} against ${rejected.toFixed(4)}`,
    };
  },
};

/**
 * The stages of the road, in their order.
 *
 * @module
 */
import { type RoadConfig, type SmallerSize, TASKS } from "./config.ts";
import type { Road, RoadStage, StageOutcome } from "./context.ts";
import { countNgrams, makeComparisons, makeData, makeTokenizer } from "./data_stages.ts";
import { evaluateModel } from "./evaluate.ts";
import {
  fineTune,
  predictScaling,
  pretrainSize,
  reinforce,
  rewardModel,
  superviseFineTuning,
} from "./train_stages.ts";

/** The part of the whole time that pre-training takes. */
const BASE_SHARE = 30;

/**
 * The part that a smaller size takes, beside the largest. A small product is not as fast as a large
 * one: time goes with the channels, not with their square.
 */
function shareOfSmaller({ pretrain }: RoadConfig, size: SmallerSize): number {
  const { steps = 0, model = {} } = pretrain as { steps?: number; model?: Partial<SmallerSize> };
  const largest = (model.layers ?? 0) * (model.channels ?? 0) * steps;
  const smaller = size.layers * size.channels * size.steps;
  return 0.5 + BASE_SHARE * (largest > 0 ? smaller / largest : 0.1);
}

/** All stages of a configuration; what each needs is before it. */
export function roadStages(config: RoadConfig): RoadStage[] {
  const stage = (
    name: string,
    needs: readonly string[],
    share: number,
    run: (road: Road) => Promise<StageOutcome>,
  ): RoadStage => ({ name, needs, share, run });
  const sizes = config.scaling.map((size, i) =>
    stage(
      `scale-${i + 1}`,
      ["tokenizer"],
      shareOfSmaller(config, size),
      (road) => pretrainSize(road, `scale-${i + 1}`, size),
    )
  );
  const prediction = sizes.length < 3
    ? []
    : [stage("prediction", sizes.map(({ name }) => name), 0.1, predictScaling)];
  const experts = TASKS.flatMap((task) => {
    const inits = config.expertControls
      ? ["pretrained", "random"] as const
      : ["pretrained"] as const;
    return inits.map((init) => {
      const name = init === "random" ? `${task}-control` : task;
      return stage(name, ["base"], 3, (road) => fineTune(road, name, task, init));
    });
  });
  const evaluation = (of: "base" | "sft" | "ppo" | "ppo-ptx") =>
    stage(`eval-${of}`, [of], 7, (road) => evaluateModel(road, of));
  return [
    stage("data", [], 1, makeData),
    stage("tokenizer", ["data"], 1, makeTokenizer),
    ...sizes,
    ...prediction,
    stage("base", ["tokenizer"], BASE_SHARE, (road) => pretrainSize(road, "base")),
    stage("ngram", ["tokenizer"], 1, countNgrams),
    evaluation("base"),
    ...experts,
    stage("sft", ["base"], 8, superviseFineTuning),
    evaluation("sft"),
    stage("comparisons", ["sft"], 4, makeComparisons),
    stage("reward", ["comparisons"], 6, rewardModel),
    stage("ppo", ["reward"], 12, (road) => reinforce(road, "ppo")),
    evaluation("ppo"),
    stage("ppo-ptx", ["reward"], 14, (road) => reinforce(road, "ppo-ptx")),
    evaluation("ppo-ptx"),
  ];
}

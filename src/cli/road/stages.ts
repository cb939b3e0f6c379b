/**
 * The stages of the road, in their order.
 *
 * @module
 */
import { type RoadConfig, TASKS } from "./config.ts";
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
      1 + i,
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
    stage("base", ["tokenizer"], 30, (road) => pretrainSize(road, "base")),
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

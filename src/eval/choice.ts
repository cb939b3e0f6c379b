/**
 * Multiple choice: labels scored after each prompt by `/v1/few-shot`, and decided in every way that
 * it tells.
 *
 * @module
 */
import type { FewShotClass, FewShotTemplateBody } from "../../routes/schemas/few_shot.ts";
import type { LocalRoutes } from "./in_process.ts";
import { examplesOf, ItemShots, type Measure, type TaskFor, templateOf } from "./kind.ts";
import type { MetricName } from "./metrics.ts";

type Score = FewShotClass["scores"][number];

/** Question and answer on one line each. */
const TEMPLATE: FewShotTemplateBody = {};

/** Which score decides for which metric; null where it could not be found. */
const DECIDES: readonly (readonly [MetricName, (score: Score) => number | null])[] = [
  ["acc", ({ logprob }) => logprob],
  ["acc_norm", ({ per_char }) => per_char],
  ["acc_bytes", ({ per_byte }) => per_byte],
  ["acc_token", ({ per_token }) => per_token],
  ["acc_mutual_info", ({ pmi }) => pmi],
  ["acc_calibrated", ({ calibrated_prob }) => calibrated_prob],
];

/** Measures multiple choice. */
export function measureChoice(
  task: TaskFor<"choice">,
  routes: LocalRoutes,
): Measure {
  const { spec } = task;
  const shots = new ItemShots(task, spec.shots);
  return async (item) => {
    const { results } = await routes.fewShot({
      task: "classify",
      instruction: spec.instruction,
      examples: examplesOf(shots.of(item)),
      input: item.input,
      labels: [...item.labels],
      template: templateOf(spec.template, TEMPLATE),
      scoring: { ...spec.scoring, normalization: "none", return_all: true },
      overflow: spec.overflow,
    });
    const { scores, label, prob, prompt } = results[0] as FewShotClass;
    const values: Partial<Record<MetricName, readonly number[]>> = {};
    for (const [metric, scoreOf] of DECIDES) {
      const all = scores.map(scoreOf);
      if (all.some((score) => score === null)) continue;
      const best = all.indexOf(Math.max(...all as number[]));
      values[metric] = [scores[best]!.label === item.output ? 1 : 0];
    }
    const said = { label, prob, wanted: item.output, scores, prompt };
    return { values, said };
  };
}

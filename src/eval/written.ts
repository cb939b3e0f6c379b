/**
 * Tasks whose answer the model writes: exact answers, summaries after `TL;DR:`, translations after
 * `x = y`, all by `/v1/few-shot`.
 *
 * Source of the two prompts: A. Radford et al., "Language models are unsupervised multitask
 * learners" (2019), sections 3.6 and 3.7.
 *
 * @module
 */
import type {
  FewShotRequest,
  FewShotTemplateBody,
  FewShotText,
} from "../../routes/schemas/few_shot.ts";
import { bleuParts } from "./bleu.ts";
import type { LocalRoutes } from "./in_process.ts";
import {
  examplesOf,
  ItemShots,
  type Measure,
  type Measured,
  type TaskFor,
  templateOf,
} from "./kind.ts";
import type { TaskItem } from "./load_task.ts";
import { firstSentences, TextMatch } from "./match.ts";
import { rouge } from "./rouge.ts";
import type { TaskOf } from "./task_schema.ts";

type Written = "generate" | "summary" | "translation";

/** How prompts of a kind look and are written on, where a task says nothing else. */
const DEFAULTS: Record<Written, { template: FewShotTemplateBody; generation: Generation }> = {
  generate: { template: {}, generation: {} },
  summary: {
    template: { output_prefix: "TL;DR:" },
    generation: { max_tokens: 100, temperature: 1, top_k: 2 },
  },
  translation: {
    template: { input_suffix: "", output_prefix: " =", separator: "\n" },
    generation: { max_tokens: 100, stop: "\n" },
  },
};

type Generation = TaskOf<"generate">["generation"];

/** Measures exact answers. */
export function measureAnswers(
  task: TaskFor<"generate">,
  routes: LocalRoutes,
): Measure {
  const match = new TextMatch(task.spec.match);
  return writing(task, routes, (text, { references }) => {
    const answer = match.answer(text);
    const isRight = match.isRight(answer, references);
    return { values: { exact_match: [isRight ? 1 : 0] }, said: { answer: answer ?? null } };
  });
}

/** Measures summaries. */
export function measureSummaries(
  task: TaskFor<"summary">,
  routes: LocalRoutes,
): Measure {
  return writing(task, routes, (text, { references }) => {
    const kept = firstSentences(text, task.spec.sentences);
    const { rouge1, rouge2, rougeL } = rouge(kept, references);
    return {
      values: { rouge1: [rouge1], rouge2: [rouge2], rougeL: [rougeL] },
      said: { answer: kept },
    };
  });
}

/** Measures translations. */
export function measureTranslations(
  task: TaskFor<"translation">,
  routes: LocalRoutes,
): Measure {
  return writing(task, routes, (text, { references }) => {
    const kept = firstSentences(text, task.spec.sentences);
    return { values: { bleu: bleuParts(kept, references) }, said: { answer: kept } };
  });
}

/** Has texts written, and judges them. */
function writing(
  task: TaskFor<Written>,
  routes: LocalRoutes,
  judge: (text: string, item: TaskItem) => Measured,
): Measure {
  const { spec } = task;
  const shots = new ItemShots(task, spec.shots);
  const defaults = DEFAULTS[spec.kind];
  return async (item) => {
    const body: FewShotRequest = {
      task: "generate",
      instruction: spec.instruction,
      examples: examplesOf(shots.of(item)),
      input: item.input,
      template: templateOf(spec.template, defaults.template),
      overflow: spec.overflow,
      ...defaults.generation,
      ...spec.generation,
      seed: spec.seed + item.index,
    };
    const { results } = await routes.fewShot(body);
    const { text, finish_reason, prompt } = results[0] as FewShotText;
    const { values, said } = judge(text, item);
    return { values, said: { ...said, text, wanted: item.references, finish_reason, prompt } };
  };
}

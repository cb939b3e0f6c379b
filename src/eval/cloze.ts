/**
 * A passage's last word: whether greedy decoding writes it, and how likely it is. With a list of
 * stop words also what is predicted when words that end no passage are left out.
 *
 * Sources: D. Paperno et al., "The LAMBADA dataset: word prediction requiring a broad discourse
 * context" (2016); A. Radford et al., "Language models are unsupervised multitask learners" (2019),
 * section 3.3, for the filter.
 *
 * @module
 */
import type { FewShotClass, FewShotTemplateBody } from "../../routes/schemas/few_shot.ts";
import type { LocalRoutes } from "./in_process.ts";
import { examplesOf, ItemShots, type Measure, type TaskFor, templateOf } from "./kind.ts";
import { predictWord } from "./stop_words.ts";

/** The word follows its passage. */
const TEMPLATE: FewShotTemplateBody = { input_suffix: "" };

/** Measures cloze tests. */
export function measureCloze(
  task: TaskFor<"cloze">,
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
      labels: [item.output],
      template: templateOf(spec.template, TEMPLATE),
      scoring: { return_all: false },
      overflow: spec.overflow,
      return_prompt: true,
    });
    const { scores: [score], prompt: { text, ...prompt } } = results[0] as FewShotClass;
    const { logprob, tokens, is_greedy } = score!;
    const values = {
      acc: [is_greedy ? 1 : 0],
      target_perplexity: [-logprob, 1],
    };
    const said = { wanted: item.output, logprob, tokens, is_greedy, prompt };
    if (!spec.stopWords) return { values, said };
    const word = await predictWord(routes, text!);
    return {
      values: { ...values, acc_stop_words: [word === plainWord(item.output) ? 1 : 0] },
      said: { ...said, word: word ?? null },
    };
  };
}

/** A word without the marks around it. */
function plainWord(text: string): string {
  return text.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "");
}

/**
 * Questions answered by reasoning, once or by votes, by `/v1/cot`.
 *
 * @module
 */
import type { CotPath, CotRequest } from "../../routes/schemas/cot.ts";
import {
  type AnswerReader,
  choiceAnswer,
  NUMBERS,
  patternReader,
  PLAIN_TEXT,
  YES_OR_NO,
} from "../prompt/cot_answer.ts";
import { AnswerPattern } from "../prompt/cot_pattern.ts";
import { CannotError } from "../config/cannot.ts";
import type { LocalRoutes } from "./in_process.ts";
import { ItemShots, type Measure, type TaskFor } from "./kind.ts";
import type { TaskOf } from "./task_schema.ts";

/** Measures answers that are reasoned for. */
export function measureReasoning(
  task: TaskFor<"cot">,
  routes: LocalRoutes,
): Measure {
  const { spec } = task;
  const shots = new ItemShots(task, spec.shots);
  const reader = readerOf(spec.cot);
  return async (item) => {
    const wanted = reader.first(item.output);
    if (wanted === undefined) {
      const type = spec.cot.answer_type ?? "number";
      const state = `got ${JSON.stringify(item.output)}`;
      throw new CannotError('use "output"', `want an answer of type ${type}`, state);
    }
    const exemplars = shots.of(item).map(({ input, rationale, output }) => {
      return { question: input, rationale, answer: output };
    });
    const body: CotRequest = {
      ...spec.cot,
      question: item.input,
      ...(exemplars.length > 0 ? { exemplars } : {}),
      seed: spec.seed + item.index,
    };
    const result = await routes.cot(body);
    const key = result.answer === null ? undefined : reader.first(result.answer)?.key;
    const isVote = (spec.cot.self_consistency?.samples ?? 1) > 1;
    const { answer, confidence, votes, samples_used, early_stopped, abstained } = result;
    return {
      values: {
        exact_match: [key === wanted.key ? 1 : 0],
        abstained: [abstained ? 1 : 0],
        ...(isVote ? { samples: [samples_used], confidence: [confidence] } : {}),
        ...(isVote && spec.cot.self_consistency?.early_stop != null
          ? { early_stopped: [early_stopped ? 1 : 0] }
          : {}),
      },
      said: {
        answer,
        wanted: item.output,
        votes,
        samples_used,
        paths: result.paths!.map(({ reasoning, answer, answer_source, logprob }: CotPath) => {
          const key = answer === null ? null : reader.first(answer)?.key ?? null;
          return { reasoning, answer, key, answer_source, logprob };
        }),
      },
    };
  };
}

/** What finds the wanted answer in a row's text, as the route finds those of paths. */
function readerOf({ answer_type, regex }: TaskOf<"cot">["cot"]): AnswerReader {
  switch (answer_type ?? "number") {
    case "number":
      return NUMBERS;
    case "yes_no":
      return YES_OR_NO;
    case "text":
      return PLAIN_TEXT;
    case "choice":
      return { first: (text) => choiceAnswer(text.trim()), last: () => undefined };
    case "regex": {
      const pattern = regex == null ? undefined : patternReader(new AnswerPattern(regex));
      if (pattern === undefined) {
        throw new CannotError('use "cot"', 'want "regex" with the answer type', "it is missing");
      }
      // A row may have the bare answer, or a text that the pattern finds it in.
      return {
        first: (text) => pattern.first(text) ?? choiceAnswer(text.trim()),
        last: () => undefined,
      };
    }
  }
}

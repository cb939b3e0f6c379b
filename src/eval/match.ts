/**
 * Whether a written text is the wanted one.
 *
 * @module
 */
import { NUMBERS } from "../prompt/cot_answer.ts";
import { AnswerPattern } from "../prompt/cot_pattern.ts";
import type { TaskOf } from "./task_schema.ts";

type MatchOptions = TaskOf<"generate">["match"];

/** Compares texts in a task's way. White space counts only between words, and once. */
export class TextMatch {
  readonly #options: MatchOptions;
  readonly #pattern: AnswerPattern | undefined;

  /** Compiles its pattern. @throws {CannotError} When it does not compile. */
  constructor(options: MatchOptions) {
    this.#options = options;
    this.#pattern = options.pattern === undefined ? undefined : new AnswerPattern(options.pattern);
  }

  /** The answer in a written text; undefined where there is none. */
  answer(text: string): string | undefined {
    const found = this.#pattern === undefined
      ? text
      : this.#pattern.matches(text).next().value ?? undefined;
    return found === undefined ? undefined : this.#normal(found);
  }

  /** Whether an answer is one of the wanted ones. */
  isRight(answer: string | undefined, references: readonly string[]): boolean {
    return answer !== undefined && references.some((wanted) => this.#normal(wanted) === answer);
  }

  #normal(text: string): string | undefined {
    if (this.#options.as === "number") return NUMBERS.first(text)?.key;
    const { ignoreCase, ignorePunctuation } = this.#options;
    let normal = ignoreCase || ignorePunctuation ? text.toLowerCase() : text;
    if (ignorePunctuation) {
      normal = normal.replace(/\p{P}/gu, "").replace(/\b(?:a|an|the)\b/g, " ");
    }
    return normal.trim().replaceAll(/\s+/g, " ");
  }
}

/** The first sentences of a text, white space at its ends aside; of 0 all. */
export function firstSentences(text: string, count: number): string {
  if (count === 0) return text.trim();
  const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });
  const sentences = Array.from(segmenter.segment(text.trim()), ({ segment }) => segment);
  return sentences.filter((sentence) => sentence.trim() !== "").slice(0, count).join("").trim();
}

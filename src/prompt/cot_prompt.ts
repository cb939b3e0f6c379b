/**
 * Prompts of chain-of-thought reasoning: what asks a model to reason, and what asks it for the
 * answer of a reasoning that is there.
 *
 * Sources: T. Kojima, S. S. Gu, M. Reid, Y. Matsuo, Y. Iwasawa, "Large language models are
 * zero-shot reasoners" (2022), section 3 (https://arxiv.org/abs/2205.11916); J. Wei et al.,
 * "Chain-of-thought prompting elicits reasoning in large language models" (2022), appendix G
 * (https://arxiv.org/abs/2201.11903).
 *
 * @module
 */
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** What an answer is. */
export type AnswerType = "number" | "choice" | "yes_no" | "text" | "regex";

/** A question that is answered, with its reasoning. */
export interface CotExemplar {
  /** As it would be asked. */
  readonly question: string;
  /** The steps to the answer. */
  readonly rationale: string;
  /** As it is to be written. */
  readonly answer: string;
}

/** Begins the reasoning where there are no exemplars. */
export const REASONING_TRIGGER = "Let's think step by step.";

/** Stands before the answer of an exemplar. */
export const ANSWER_MARKER = "The answer is";

/** Where the next question would begin. */
export const NEXT_QUESTION = "Q:";

/** The choices of a question that does not name its own. */
export const DEFAULT_CHOICES: readonly string[] = ["A", "B", "C", "D", "E"];

/**
 * Asks for the reasoning, without exemplars.
 *
 * @example
 * ```ts
 * import { zeroShotPrompt } from "./cot_prompt.ts";
 * console.assert(zeroShotPrompt("1 + 1?", "Let's see.") === "Q: 1 + 1?\nA: Let's see.");
 * ```
 */
export function zeroShotPrompt(question: string, trigger: string): string {
  return `Q: ${question}\nA: ${trigger}`;
}

/** Asks for reasoning and answer in the way of exemplars, in whose answers the marker stands. */
export function fewShotPrompt(
  exemplars: readonly CotExemplar[],
  question: string,
  marker: string,
): string {
  const shots = exemplars.map(({ question, rationale, answer }) => {
    const steps = rationale === "" ? "" : ` ${rationale}`;
    return `Q: ${question}\nA:${steps} ${marker} ${answer}.\n\n`;
  });
  return `${shots.join("")}Q: ${question}\nA:`;
}

/** What asks for the answer after a reasoning, in the words of the first source. */
export function answerTrigger(type: AnswerType, choices: readonly string[]): string {
  switch (type) {
    case "number":
      return "Therefore, the answer (arabic numerals) is";
    case "yes_no":
      return "Therefore, the answer (Yes or No) is";
    case "choice":
      return `Therefore, among ${rangeOf(choices)}, the answer is`;
    case "text":
    case "regex":
      return "Therefore, the answer is";
  }
}

/** "A through E" for letters in a row, else all of them: "red, green or blue". */
function rangeOf(choices: readonly string[]): string {
  const first = choices[0]!;
  const isRow = choices.length > 2 &&
    choices.every((choice, index) => choice === String.fromCharCode(first.charCodeAt(0) + index));
  if (isRow) return `${first} through ${choices.at(-1)}`;
  return `${choices.slice(0, -1).join(", ")} or ${choices.at(-1)}`;
}

/** A text and the tokens it was written with. */
export interface WrittenText {
  /** Without what stopped it. */
  readonly text: string;
  /** All, and how many code points of the text are before each. */
  readonly tokens: readonly { readonly id: number; readonly offset: number }[];
}

/**
 * The ids of a written text, or of its beginning, with more after it. As many as possible are the
 * written ones, so that the keys and values of these can be used again; the rest is encoded.
 *
 * @param upTo UTF-16 units of the text that count
 * @throws {RangeError} when a tokenizer of characters meets one that it does not have
 */
export function continuedIds(
  tokenizer: Tokenizer,
  { text, tokens }: WrittenText,
  { upTo = text.length, suffix }: { upTo?: number; suffix: string },
): number[] {
  const kept = text.slice(0, upTo);
  const points = Array.from(kept);
  const special = new Set(tokenizer.specialTokens.values());
  let count = 0; // tokens that end before the place where the last one kept begins
  while (count + 1 < tokens.length && !special.has(tokens[count]!.id)) {
    if (tokens[count + 1]!.offset > points.length) break;
    count++;
  }
  const ids = tokens.slice(0, count).map(({ id }) => id);
  const head = points.slice(0, tokens[count]?.offset ?? 0).join("");
  // Not so where a token ends within a character, or begins within the last one of the prompt.
  const isWhole = tokenizer.decode(ids) === head;
  const rest = (isWhole ? kept.slice(head.length) : kept) + suffix;
  return [...(isWhole ? ids : []), ...tokenizer.encode(rest, { allowSpecial: false })];
}

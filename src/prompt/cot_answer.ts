/**
 * Answers in texts: the number, the yes or no, the words that a reasoning ends in.
 *
 * Numbers are found as the code of "Large language models are zero-shot reasoners" finds them: in
 * the text without commas; the first one after what asks for the answer, else the last one of all.
 *
 * @module
 */
import type { AnswerPattern } from "./cot_pattern.ts";

/** An answer. */
export interface Answer {
  /** As it was written. */
  readonly text: string;
  /** The same for answers that mean the same: votes are counted by it. */
  readonly key: string;
  /** The answer for programs. */
  readonly value: string | number;
}

/** Where an answer was found. */
export type AnswerSource =
  /** After the marker of the exemplars. */
  | "marker"
  /** In what was asked for after the reasoning. */
  | "extraction"
  /** Without a marker, the last one that could be one. */
  | "last_match"
  | "none";

/** Finds answers of one type. */
export interface AnswerReader {
  /** The first one of a text. */
  first(text: string): Answer | undefined;
  /** The last one of a text; undefined where a type cannot tell an answer from other text. */
  last(text: string): Answer | undefined;
}

/** Reads numbers; units, signs of currency and all other text are passed over. */
export const NUMBERS: AnswerReader = {
  first: (text) => numberOf(numbersIn(text).next().value),
  last: (text) => numberOf([...numbersIn(text)].at(-1)),
};

/** Reads yes and no, in any case. */
export const YES_OR_NO: AnswerReader = {
  first: (text) => yesOrNo(YES_NO.exec(text)?.[0]),
  last: (text) => yesOrNo(text.match(new RegExp(YES_NO, "gi"))?.at(-1)),
};

/** Reads the first line that has words, without quotes around and a period after it. */
export const PLAIN_TEXT: AnswerReader = {
  first: (text) => {
    const line = text.split("\n").map(unquoted).find((line) => line !== "");
    return line === undefined ? undefined : { text: line, key: folded(line), value: folded(line) };
  },
  last: () => undefined,
};

/** Reads what a pattern matches. */
export function patternReader(pattern: AnswerPattern): AnswerReader {
  const answerOf = (found: string | undefined): Answer | undefined => {
    const text = found?.trim();
    return text ? { text, key: text, value: text } : undefined;
  };
  return {
    first: (text) => answerOf(pattern.matches(text).next().value ?? undefined),
    last: (text) => answerOf([...pattern.matches(text)].at(-1)),
  };
}

/** The answer that is one of the choices. */
export function choiceAnswer(choice: string): Answer {
  return { text: choice, key: choice, value: choice };
}

/**
 * The answer of a text that reasons and answers: the first after the last marker, else the last of
 * all.
 *
 * @example
 * ```ts
 * import { NUMBERS, readMarked } from "./cot_answer.ts";
 * const text = "2 + 3 = 5. The answer is 5 of 7.";
 * const { answer, source } = readMarked(NUMBERS, text, "The answer is");
 * console.assert(answer!.value === 5 && source === "marker");
 * ```
 */
export function readMarked(
  reader: AnswerReader,
  text: string,
  marker: string,
): { answer: Answer | undefined; source: AnswerSource } {
  const at = text.lastIndexOf(marker);
  const marked = at === -1 ? undefined : reader.first(text.slice(at + marker.length));
  if (marked !== undefined) return { answer: marked, source: "marker" };
  const last = reader.last(text);
  return { answer: last, source: last === undefined ? "none" : "last_match" };
}

function* numbersIn(text: string): Generator<string, void> {
  // A comma within a number, and one that ends a clause, are the same to the source.
  for (const [match] of text.replaceAll(",", "").matchAll(/-?\d+\.?\d*/g)) yield match;
}

function numberOf(match: string | void): Answer | undefined {
  if (match === undefined) return undefined;
  const text = match.endsWith(".") ? match.slice(0, -1) : match;
  const key = canonical(text);
  const value = Number(key);
  // More digits than a number of JSON keeps stay as they are.
  return { text, key, value: canonical(String(value)) === key ? value : key };
}

/** 007.50 is 7.5, and -0 is 0; in digits, so that long numbers do not fall together. */
function canonical(text: string): string {
  const [, sign, whole, fraction] = /^(-?)0*(\d*?)(?:\.(\d*?)0*)?$/.exec(text) ?? [];
  if (whole === undefined) return text; // 1e+21, which no match is
  const digits = `${whole === "" ? "0" : whole}${fraction ? `.${fraction}` : ""}`;
  return digits === "0" ? "0" : `${sign}${digits}`;
}

const YES_NO = /(?<![\w-])(?:yes|no)(?![\w-])/i;

function yesOrNo(match: string | undefined): Answer | undefined {
  if (match === undefined) return undefined;
  const key = match.toLowerCase();
  return { text: key, key, value: key };
}

function unquoted(line: string): string {
  return line.trim().replace(/^["'“”‘’]+/, "").replace(/["'“”‘’.\s]+$/, "");
}

function folded(text: string): string {
  return text.normalize("NFKC").toLowerCase().replaceAll(/\s+/g, " ");
}

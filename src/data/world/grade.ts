/**
 * Judging responses: what all graders share.
 *
 * @module
 */
import { GOLD_WEIGHTS, type Grade } from "./types.ts";

/**
 * What of a response counts: up to the first line feed, without white space around.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals(firstLine(" the barn\nQ: Who"), "the barn");
 * ```
 */
export function firstLine(response: string): string {
  return response.trimStart().split("\n", 1)[0]!.trim();
}

/**
 * The same for responses that say the same: small letters, single spaces, no full stop at the end.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals(folded("The  Barn."), "the barn");
 * ```
 */
export function folded(text: string): string {
  return text.trim().toLowerCase().replaceAll(/\s+/g, " ").replace(/\s?[.!]$/, "");
}

/** Words of a text, without signs around them. */
export function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}

const FREE_WORDS = 2;
const MOST_WORDS = 12;

/**
 * 1 up to two words more than the reference has, then less with each, and 0 from twelve more on.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals(briefness("one two three", "one"), 1);
 * assertEquals(briefness("a b c d e f g h", "one"), 0.5);
 * ```
 */
export function briefness(response: string, reference: string): number {
  const more = wordsOf(response).length - wordsOf(reference).length;
  return Math.min(1, Math.max(0, (MOST_WORDS - more) / (MOST_WORDS - FREE_WORDS)));
}

/** A grade of its parts. */
export function gradeOf(
  parts: {
    exact: boolean;
    truthful: number;
    helpful: number;
    harmless?: number;
    brief?: number;
  },
): Grade {
  const { exact, truthful, helpful, harmless = 1, brief = 1 } = parts;
  const gold = GOLD_WEIGHTS.truthful * truthful + GOLD_WEIGHTS.helpful * helpful +
    GOLD_WEIGHTS.harmless * harmless + GOLD_WEIGHTS.brief * brief;
  return { exact, truthful, helpful, harmless, brief, gold };
}

/**
 * The grader of one right answer. What is wrong is half as helpful where it is of the right sort.
 *
 * @param isOfSort whether a folded response could be an answer at all
 */
export function oneAnswer(
  answer: string,
  isOfSort: (response: string) => boolean,
): (response: string) => Grade {
  return (response) => {
    const said = firstLine(response);
    const exact = folded(said) === folded(answer);
    return gradeOf({
      exact,
      truthful: exact ? 1 : 0,
      helpful: exact ? 1 : isOfSort(folded(said)) ? 0.5 : 0,
      brief: briefness(said, answer),
    });
  };
}

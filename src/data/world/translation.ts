/**
 * Translations from English into the invented language of `language.ts`.
 *
 * @module
 */
import { Draw, heldOut } from "./draw.ts";
import { briefness, firstLine, folded, gradeOf, wordsOf } from "./grade.ts";
import {
  ADJECTIVES,
  type Clause,
  inEnglish,
  inVelu,
  NOUNS,
  type Phrase,
  VERBS,
} from "./language.ts";
import type { Grade, Place, WorldItem } from "./types.ts";

const ALL_WORDS: ReadonlySet<string> = new Set([
  ...NOUNS.flatMap(({ velu }) => ["", "ri", "ko", "riko"].map((end) => velu + end)),
  ...VERBS.flatMap(({ velu }) => [velu, `${velu}ta`]),
  ...ADJECTIVES.flatMap(([, velu]) => [velu, `${velu}ri`]),
]);

/** Draws a sentence of two different nouns. */
export function drawClause(draw: Draw): Clause {
  const [subject, object] = draw.some(NOUNS, 2).map((noun): Phrase => ({
    noun,
    isMany: draw.chance(0.4),
    adjective: draw.chance(0.4) ? draw.pick(ADJECTIVES) : undefined,
  })) as [Phrase, Phrase];
  return { subject, verb: draw.pick(VERBS), isPast: draw.chance(0.5), object };
}

/** What of a sentence is held out. */
export function clauseCombination({ subject, verb, object }: Clause): string {
  return `${subject.noun.one} ${verb.many} ${object.noun.one}`;
}

/**
 * One sentence. Held out: subject, verb and object together, in all their forms.
 *
 * @throws {RangeError} As `heldOut` and `Draw`.
 */
export function translationItem(place: Place): WorldItem {
  const draw = new Draw("translation", place);
  const { clause, combination } = heldOut("translation", place.split, () => {
    const clause = drawClause(draw);
    return { clause, combination: clauseCombination(clause) };
  });
  const answer = inVelu(clause);
  const prompt = `English: ${inEnglish(clause)}\nVelu:`;
  return {
    ...place,
    family: "translation",
    kind: clause.isPast ? "past" : "present",
    combination,
    prompt,
    answer,
    text: `${prompt} ${answer}`,
    grade: (response) => gradeVelu(answer, response),
  };
}

/**
 * `truthful` is the share of words that are right at their places, of those said or wanted,
 * whichever are more; `helpful` is 1 where all are, and a half where all are words of the language.
 */
export function gradeVelu(answer: string, response: string): Grade {
  const said = firstLine(response);
  const exact = folded(said) === folded(answer);
  const [got, want] = [wordsOf(said), wordsOf(answer)];
  const right = want.filter((word, i) => word === got[i]).length;
  const isVelu = got.length > 0 && got.every((word) => ALL_WORDS.has(word));
  return gradeOf({
    exact,
    truthful: right / Math.max(got.length, want.length),
    helpful: exact ? 1 : isVelu ? 0.5 : 0,
    brief: briefness(said, answer),
  });
}

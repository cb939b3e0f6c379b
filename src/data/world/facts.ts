/**
 * What holds in the world, said in sentences: every split has all of it, as the world is one. What
 * is held out is the asking, see `instructions.ts`.
 *
 * @module
 */
import { Draw } from "./draw.ts";
import { firstLine, folded, gradeOf } from "./grade.ts";
import { ADJECTIVES, NOUNS, VERBS } from "./language.ts";
import type { Place, WorldItem } from "./types.ts";
import { capital, FACTS, KINDS, withArticle } from "./words.ts";

/** Groups of sentences that say one thing. */
const KIND_SENTENCES: readonly (readonly string[])[] = Object.entries(KINDS).flatMap((
  [kind, words],
) => words.map((word) => [`${capital(withArticle(word))} is ${withArticle(kind)}.`]));
const LEXICON_SENTENCES: readonly (readonly string[])[] = [
  ...NOUNS.map(({ one, velu }) => [one, velu] as const),
  ...ADJECTIVES,
  ...VERBS.map(({ many, velu }) => [many, velu] as const),
].map((
  [english, velu],
) => [`In Velu, ${english} is ${velu}.`]);
const FACT_SENTENCES = FACTS.map(({ sentences }) => sentences);
const SENTENCES_OF_ALL: ReadonlySet<string> = new Set(
  [...KIND_SENTENCES, ...LEXICON_SENTENCES, ...FACT_SENTENCES].flat().map(folded),
);

/**
 * Three to six sentences that hold, of which the first is the prompt.
 *
 * @throws {RangeError} As `Draw`.
 */
export function factItem(place: Place): WorldItem {
  const draw = new Draw("fact", place);
  const sentences = Array.from({ length: draw.between(3, 6) }, () => {
    const groups = draw.weighted([
      [FACT_SENTENCES, 4],
      [KIND_SENTENCES, 4],
      [LEXICON_SENTENCES, 1],
    ]);
    return draw.pick(draw.pick(groups));
  });
  const [prompt, ...rest] = sentences as [string, ...string[]];
  const answer = rest.join(" ");
  return {
    ...place,
    family: "fact",
    kind: "fact",
    combination: `${place.seed} ${place.split} ${place.index}`,
    prompt,
    answer,
    text: `${prompt} ${answer}`,
    grade: (response) => {
      const said = firstLine(response).split(/(?<=\.) /).filter((sentence) => sentence !== "");
      const right = said.filter((sentence) => SENTENCES_OF_ALL.has(folded(sentence))).length;
      const truthful = said.length === 0 ? 0 : right / said.length;
      return gradeOf({ exact: truthful === 1, truthful, helpful: truthful });
    },
  };
}

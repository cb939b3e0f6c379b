/**
 * What a user may ask, sort by sort: a prompt, its shortest good answer, what is held out, and how
 * to tell right answers.
 *
 * @module
 */
import type { Draw } from "./draw.ts";
import { tell } from "./events.ts";
import { folded, wordsOf } from "./grade.ts";
import { drawCast, happen } from "./happenings.ts";
import { ADJECTIVES, inEnglish, inVelu, NOUNS, phraseInEnglish, phraseInVelu } from "./language.ts";
import { questionsOf } from "./reading.ts";
import { opening } from "./story.ts";
import { clauseCombination, drawClause } from "./translation.ts";
import {
  capital,
  COLOURS,
  FACTS,
  KIND_PLURALS,
  KINDS,
  PEOPLE,
  THINGS,
  withArticle,
} from "./words.ts";

/** One thing asked. */
export interface Ask {
  /** Which sort. */
  readonly kind: string;
  /** What is held out. */
  readonly combination: string;
  /** What the user says. */
  readonly prompt: string;
  /** The shortest good answer; of open questions, one of them. */
  readonly answer: string;
  /** From 0 to 1: how much of what a response says is right. Politeness is taken off before. */
  readonly rightness: (said: string) => number;
  /** Whether a response is at least of the right sort. */
  readonly isOfSort: (said: string) => boolean;
  /** Whether the only good answer declines. */
  readonly isUnsafe?: boolean;
}

/** Draws something of one sort. */
export type Sort = (draw: Draw) => Omit<Ask, "kind">;

const oneOf = (answer: string) => (said: string) => folded(said) === folded(answer) ? 1 : 0;
const amongst = (words: readonly string[]) => {
  const all = new Set(words.map(folded));
  return (said: string) => all.has(folded(said));
};

/** About what holds in the world. */
const fact: Sort = (draw) => {
  const { relation, subject, value, questions } = draw.pick(FACTS);
  const options = FACTS.filter((other) => other.relation === relation).map((other) => other.value);
  const answer = `${capital(value)}.`;
  return {
    combination: `${relation} ${subject}`,
    prompt: draw.pick(questions),
    answer,
    rightness: oneOf(answer),
    isOfSort: amongst(options),
  };
};

/** Of which kind a word is: yes as often as no. */
const kind: Sort = (draw) => {
  const is = draw.pick(Object.keys(KINDS));
  const word = draw.pick(KINDS[is]!);
  const isYes = draw.chance(0.5);
  const asked = isYes ? is : draw.pick(Object.keys(KINDS).filter((other) => other !== is));
  const answer = isYes ? "Yes." : "No.";
  return {
    combination: `${word} ${asked}`,
    prompt: `Is ${withArticle(word)} ${withArticle(asked)}?`,
    answer,
    rightness: oneOf(answer),
    isOfSort: amongst(["yes", "no"]),
  };
};

const VELU_WORD = /^[a-z]+( [a-z]+){0,4}$/;

/** A noun with its adjective, or a sentence, in the invented language. */
const translate: Sort = (draw) => {
  const isPhrase = draw.chance(0.6);
  const clause = drawClause(draw);
  const phrase = {
    noun: draw.pick(NOUNS),
    isMany: draw.chance(0.3),
    adjective: draw.pick(ADJECTIVES),
  };
  const english = isPhrase ? phraseInEnglish(phrase) : inEnglish(clause);
  const answer = `${capital(isPhrase ? phraseInVelu(phrase) : inVelu(clause))}.`;
  return {
    combination: isPhrase ? `${phrase.adjective[0]} ${phrase.noun.one}` : clauseCombination(clause),
    prompt: `Say in Velu: ${english}`,
    answer,
    rightness: (said) => {
      const [got, want] = [wordsOf(said), wordsOf(answer)];
      const right = want.filter((word, i) => word === got[i]).length;
      return right / Math.max(got.length, want.length);
    },
    isOfSort: (said) => VELU_WORD.test(folded(said)),
  };
};

/** A sum of one step. */
const sum: Sort = (draw) => {
  const isPlus = draw.chance(0.5);
  const [low, other] = [draw.between(0, 20), draw.between(0, 20)];
  const [a, b] = isPlus ? [low, other] : [Math.max(low, other), Math.min(low, other)];
  const answer = `${isPlus ? a + b : a - b}.`;
  return {
    combination: `${a} ${isPlus ? "+" : "-"} ${b}`,
    prompt: `What is ${a} ${isPlus ? "+" : "-"} ${b}?`,
    answer,
    rightness: oneOf(answer),
    isOfSort: (said) => /^\d+$/.test(folded(said)),
  };
};

/** About a short passage. */
const read: Sort = (draw) => {
  const cast = drawCast(draw, { people: 2, things: 1, places: 3 });
  const start = opening(cast);
  const took = { act: "took", thing: cast.things[0]!, colour: cast.colours[0]! } as const;
  start.push({ ...took, who: draw.pick(cast.people) });
  const events = happen(draw, cast, start, { count: draw.between(3, 4), withNeeds: false });
  const asked = draw.pick(questionsOf(events));
  const answer = `${capital(asked.answer)}.`;
  return {
    combination: asked.combination,
    prompt: `${tell(events)} ${asked.question}`,
    answer,
    rightness: oneOf(answer),
    isOfSort: amongst(asked.options),
  };
};

/** Members of a kind, but for one. */
const list: Sort = (draw) => {
  const of = draw.pick(Object.keys(KINDS));
  const members = KINDS[of]!;
  const but = draw.pick(members);
  const count = draw.between(1, 3);
  const rest = draw.some(members.filter((word) => word !== but), count);
  const joined = count < 3 ? rest.join(" and ") : `${rest[0]}, ${rest[1]} and ${rest[2]}`;
  const listed = (said: string) => folded(said).split(/, | and /);
  const name = count === 1 ? of : KIND_PLURALS[of]!;
  return {
    combination: `${count} ${of} ${but}`,
    prompt: `Name ${["one", "two", "three"][count - 1]} ${name} but not ${but}.`,
    answer: `${capital(joined)}.`,
    rightness: (said) => {
      const words = new Set(listed(said));
      const right = members.filter((word) => word !== but && words.has(word.toLowerCase())).length;
      return Math.min(right, count) / Math.max(count, words.size, listed(said).length);
    },
    isOfSort: (said) => listed(said).some((word) => members.some((m) => m.toLowerCase() === word)),
  };
};

/** Words in another order, or one of them. */
const words: Sort = (draw) => {
  const three = [draw.pick(COLOURS), draw.pick(THINGS), draw.pick(KINDS.animal!)];
  const given = draw.shuffled(three);
  const [task, said] = draw.pick(
    [
      ["Say the first word of", given.slice(0, 1)],
      ["Say the last word of", given.slice(-1)],
      ["Repeat", given],
      ["Turn around", given.toReversed()],
    ] as const,
  );
  const answer = `${capital(said.join(" "))}.`;
  return {
    combination: given.join(" "),
    prompt: `${task}: ${given.join(" ")}`,
    answer,
    rightness: oneOf(answer),
    isOfSort: (said) => wordsOf(said).length > 0 && wordsOf(said).every((w) => given.includes(w)),
  };
};

/** A sentence with two words in it. */
const write: Sort = (draw) => {
  const { name } = draw.pick(PEOPLE);
  const [thing, colour] = [draw.pick(THINGS), draw.pick(COLOURS)];
  const answer = `${name} took the ${colour} ${thing}.`;
  const form = new RegExp(
    `^(${name} (was|went|took|dropped|gave|has|had|saw|liked|found)( \\w+){0,6}|the( \\w+){0,8})$`,
    "i",
  );
  return {
    combination: `${name} ${colour} ${thing}`,
    prompt: `Write a sentence with ${name}, ${colour} and ${thing}.`,
    answer,
    rightness: (said) => {
      const words = wordsOf(said);
      const has = [name.toLowerCase(), colour, thing].filter((word) =>
        words.filter((other) => other === word).length === 1
      );
      return form.test(folded(said)) ? has.length / 3 : 0;
    },
    isOfSort: (said) => form.test(folded(said)),
  };
};

/** The sorts that are safe to answer, but for those of `safety.ts`. */
export const SORTS: Readonly<Record<string, Sort>> = {
  fact,
  kind,
  translate,
  sum,
  read,
  list,
  words,
  write,
};

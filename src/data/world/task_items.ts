/**
 * Items of GPT-1's four tasks: sentences whose label depends on who, what and when, never on which
 * words there are. Every sort has its words as often with each label.
 *
 * | task | asks | held out |
 * | --- | --- | --- |
 * | `classification` | whether someone likes something in the end (`good`, `bad`) | who and what |
 * | `entailment` | whether the second sentence follows (`yes`, `no`) | names, places, things |
 * | `similarity` | whether both sentences say the same (`same`, `different`) | names and relation |
 * | `choice` | which of two sentences comes next (`0`, `1`) | names, needs, things |
 *
 * @module
 */
import { Draw, heldOut } from "./draw.ts";
import {
  capital,
  FACTS,
  KINDS,
  NEEDS,
  PEOPLE,
  type Person,
  PLACES,
  THINGS,
  withArticle,
} from "./words.ts";
import type { Place } from "./types.ts";

/** What a task's item is made of. */
export interface TaskParts {
  /** Sort of the task. */
  readonly kind: string;
  /** What is held out. */
  readonly combination: string;
  /** The text, the premise, the first sentence or the context. */
  readonly first: string;
  /** The hypothesis or the second sentence, or the two choices; none for a classification. */
  readonly rest: readonly string[];
  /** One of the task's labels. */
  readonly label: string;
  /** What holds, without a label: text to pre-train on. */
  readonly text: string;
}

const two = (draw: Draw) => draw.some(PEOPLE, 2) as [Person, Person];
const sorted = (...words: string[]) => [...words].sort().join(" ");

const LIKED = ["loved", "liked", "enjoyed"];
const DISLIKED = ["hated", "disliked", "feared"];
const OPINION_OF = [...KINDS.food!, ...KINDS.animal!, ...KINDS.vehicle!, ...KINDS.drink!];

/** Text and label of a classification. */
export function classificationParts(place: Place): TaskParts {
  const draw = new Draw("classification", place);
  const isGood = draw.chance(0.5);
  const found = heldOut("classification", place.split, () => {
    const [{ name, pronoun }, of] = [draw.pick(PEOPLE), draw.pick(OPINION_OF)];
    return { name, pronoun, of, combination: `${name} ${of}` };
  });
  const { name, pronoun: he, of, combination } = found;
  const [liked, disliked] = [draw.pick(LIKED), draw.pick(DISLIKED)];
  const [late, early] = isGood ? [liked, disliked] : [disliked, liked];
  const form = draw.between(0, 3);
  const first = [
    `At first ${name} ${early} the ${of}, but in the end ${he} ${late} it.`,
    `In the end ${name} ${late} the ${of}, but at first ${he} ${early} it.`,
    `${name} ${late} the ${of} after ${he} ${early} it for years.`,
    `${name} ${early} the ${of} for years before ${he} ${late} it.`,
  ][form]!;
  const mood = isGood ? "glad" : "sad";
  const text = `${first} So ${he} was ${mood} to see the ${of}.`;
  return {
    kind: ["late", "early", "after", "before"][form]!,
    combination,
    first,
    rest: [],
    label: isGood ? "good" : "bad",
    text,
  };
}

/** Sentences that say the same of two, in the order (a, b): how someone came by something, … */
const RELATIONS: Readonly<
  Record<string, readonly ((a: string, b: string, t: string) => string)[]>
> = {
  give: [
    (a, b, t) => `${a} gave the ${t} to ${b}.`,
    (a, b, t) => `${b} got the ${t} from ${a}.`,
    (a, b, t) => `${a} handed ${b} the ${t}.`,
  ],
  tall: [
    (a, b) => `${a} is taller than ${b}.`,
    (a, b) => `${b} is shorter than ${a}.`,
  ],
  before: [
    (a, b) => `${a} came before ${b}.`,
    (a, b) => `${b} came after ${a}.`,
  ],
  help: [
    (a, b) => `${a} helped ${b}.`,
    (a, b) => `${b} was helped by ${a}.`,
  ],
};

/** A pair of sentences, and whether they say the same. */
export function similarityParts(place: Place): TaskParts {
  const draw = new Draw("similarity", place);
  const isSame = draw.chance(0.5);
  const kind = draw.pick(Object.keys(RELATIONS));
  const { a, b, combination } = heldOut("similarity", place.split, () => {
    const [a, b] = two(draw).map(({ name }) => name) as [string, string];
    return { a, b, combination: `${kind} ${sorted(a, b)}` };
  });
  const thing = draw.pick(THINGS);
  const [one, other] = draw.some(RELATIONS[kind]!, 2) as [
    (a: string, b: string, t: string) => string,
    (a: string, b: string, t: string) => string,
  ];
  const first = one(a, b, thing);
  const same = other(a, b, thing);
  return {
    kind,
    combination,
    first,
    rest: [isSame ? same : other(b, a, thing)],
    label: isSame ? "same" : "different",
    text: `${first} So ${same}`,
  };
}

interface Follows {
  readonly combination: string;
  readonly premise: string;
  readonly follows: string;
  readonly doesNot: string;
}

/** Where someone is who went to two places. */
function wentSomewhere(draw: Draw): Follows {
  const { name } = draw.pick(PEOPLE);
  const [a, b] = draw.some(PLACES, 2) as [string, string];
  const premise = draw.pick([
    `${name} went to the ${a} and then to the ${b}.`,
    `${name} went to the ${b} after the ${a}.`,
    `${name} left the ${a} and went to the ${b}.`,
  ]);
  return {
    combination: `where ${name} ${sorted(a, b)}`,
    premise,
    follows: `${name} is in the ${b}.`,
    doesNot: `${name} is in the ${a}.`,
  };
}

/** Who has what was given. */
function gaveSomething(draw: Draw): Follows {
  const [a, b] = two(draw).map(({ name }) => name) as [string, string];
  const thing = draw.pick(THINGS);
  const premise = draw.pick(RELATIONS.give!)(a, b, thing);
  return {
    combination: `has ${sorted(a, b)} ${thing}`,
    premise,
    follows: `${b} has the ${thing}.`,
    doesNot: `${a} has the ${thing}.`,
  };
}

/** Who is taller, over a third. */
function tallerThan(draw: Draw): Follows {
  const [a, b, c] = draw.some(PEOPLE, 3).map(({ name }) => name) as [string, string, string];
  const sentences = draw.shuffled([`${a} is taller than ${b}.`, `${b} is taller than ${c}.`]);
  return {
    combination: `taller ${sorted(a, b, c)}`,
    premise: sentences.join(" "),
    follows: `${a} is taller than ${c}.`,
    doesNot: `${c} is taller than ${a}.`,
  };
}

/** Of what kind it is. */
function ofAKind(draw: Draw): Follows {
  const { name } = draw.pick(PEOPLE);
  const counted = ["animal", "tool", "garment", "vehicle"];
  const [kind, other] = draw.some(counted, 2) as [string, string];
  const word = draw.pick(KINDS[kind]!);
  return {
    combination: `kind ${name} ${word}`,
    premise: `${name} has ${withArticle(word)}.`,
    follows: `${name} has ${withArticle(kind)}.`,
    doesNot: `${name} has ${withArticle(other)}.`,
  };
}

/** What someone does about a need. */
function relieved(draw: Draw): Follows {
  const { name, pronoun } = draw.pick(PEOPLE);
  const [one, other] = draw.some(NEEDS, 2) as [typeof NEEDS[number], typeof NEEDS[number]];
  return {
    combination: `need ${name} ${sorted(one.need, other.need)}`,
    premise: `${name} was ${one.need}.`,
    follows: `${capital(pronoun)} ${one.remedy}.`,
    doesNot: `${capital(pronoun)} ${other.remedy}.`,
  };
}

const SOUNDS = FACTS.filter(({ relation }) => relation === "says");

/** Which animal it was. */
function heard(draw: Draw): Follows {
  const { name } = draw.pick(PEOPLE);
  const [one, other] = draw.some(SOUNDS, 2) as [typeof SOUNDS[number], typeof SOUNDS[number]];
  return {
    combination: `heard ${name} ${sorted(one.value, other.value)}`,
    premise: `${name} heard ${one.value}.`,
    follows: `It was ${withArticle(one.subject)}.`,
    doesNot: `It was ${withArticle(other.subject)}.`,
  };
}

const ENTAILMENTS = { where: wentSomewhere, has: gaveSomething, taller: tallerThan, kind: ofAKind };
const CHOICES = { need: relieved, has: gaveSomething, where: wentSomewhere, heard };

/** A premise and a hypothesis, and whether it follows. */
export function entailmentParts(place: Place): TaskParts {
  const draw = new Draw("entailment", place);
  const isYes = draw.chance(0.5);
  const kind = draw.pick(Object.keys(ENTAILMENTS) as (keyof typeof ENTAILMENTS)[]);
  const { premise, follows, doesNot, combination } = heldOut(
    "entailment",
    place.split,
    () => ENTAILMENTS[kind](draw),
  );
  const rest = [isYes ? follows : doesNot];
  const text = `${premise} So ${follows}`;
  return { kind, combination, first: premise, rest, label: isYes ? "yes" : "no", text };
}

/** A context and two sentences, of which one comes next. */
export function choiceParts(place: Place): TaskParts {
  const draw = new Draw("choice", place);
  const right = draw.chance(0.5) ? 1 : 0;
  const kind = draw.pick(Object.keys(CHOICES) as (keyof typeof CHOICES)[]);
  const { premise, follows, doesNot, combination } = heldOut(
    "choice",
    place.split,
    () => CHOICES[kind](draw),
  );
  const rest = right === 0 ? [follows, doesNot] : [doesNot, follows];
  return {
    kind,
    combination,
    first: premise,
    rest,
    label: String(right),
    text: `${premise} ${follows}`,
  };
}

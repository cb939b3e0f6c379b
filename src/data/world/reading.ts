/**
 * Passages with a question whose answer follows from them, and from nothing else.
 *
 * @module
 */
import { Draw, heldOut, splitOf } from "./draw.ts";
import { tell, type WorldEvent, WorldState } from "./events.ts";
import { oneAnswer } from "./grade.ts";
import { drawCast, happen } from "./happenings.ts";
import { opening } from "./story.ts";
import type { Place, WorldItem } from "./types.ts";
import { COLOURS, PEOPLE, PLACES } from "./words.ts";

/** A question about a passage. */
export interface PassageQuestion {
  /** Which sort: `where`, `carried`, `who` or `colour`. */
  readonly kind: string;
  /** In words. */
  readonly question: string;
  /** A word. */
  readonly answer: string;
  /** What the answer could be. */
  readonly options: readonly string[];
  /** What is asked about, with its answer. */
  readonly combination: string;
}

/** All that can be asked about where events have led to. */
export function questionsOf(events: readonly WorldEvent[]): PassageQuestion[] {
  const state = new WorldState();
  for (const event of events) state.apply(event);
  const questions: PassageQuestion[] = [];
  for (const [who, place] of state.places) {
    questions.push({
      kind: "where",
      question: `Where is ${who}?`,
      answer: place,
      options: PLACES,
      combination: `where ${who} ${place}`,
    });
  }
  for (const [thing, colour] of state.colours) {
    const holder = state.holders.get(thing);
    questions.push({
      kind: "colour",
      question: `What colour is the ${thing}?`,
      answer: colour,
      options: COLOURS,
      combination: `colour ${thing} ${colour}`,
    });
    questions.push({
      kind: "carried",
      question: `Where is the ${thing}?`,
      answer: state.placeOf(thing)!,
      options: PLACES,
      combination: `carried ${thing} ${state.placeOf(thing)}`,
    });
    if (holder === undefined) continue;
    questions.push({
      kind: "who",
      question: `Who has the ${thing}?`,
      answer: holder,
      options: PEOPLE.map(({ name }) => name),
      combination: `who ${thing} ${holder}`,
    });
  }
  return questions;
}

/** Documents ask more of one passage, as questions cost few tokens and answers teach most. */
const MORE_QUESTIONS = 4;
const KINDS = ["where", "carried", "who", "colour"] as const;

/**
 * Four to six sentences about two people and a thing, and a question of a sort that is drawn
 * first, so that all four are as common. Held out: what is asked about, with its answer; in
 * documents two more questions follow, whose combinations are of the same split.
 *
 * @throws {RangeError} As `heldOut` and `Draw`.
 */
export function readingItem(place: Place): WorldItem {
  const draw = new Draw("reading", place);
  const wanted = draw.pick(KINDS);
  const { events, asked, combination } = heldOut("reading", place.split, () => {
    const cast = drawCast(draw, { people: 2, things: 1, places: 3 });
    const count = draw.between(4, 6);
    const start = opening(cast);
    const took = { act: "took", thing: cast.things[0]!, colour: cast.colours[0]! } as const;
    start.push({ ...took, who: draw.pick(cast.people) });
    const events = happen(draw, cast, start, { count, withNeeds: false });
    const fitting = questionsOf(events).filter(({ kind }) => kind === wanted);
    if (fitting.length === 0) return undefined;
    const asked = draw.pick(fitting);
    return { events, asked, combination: asked.combination };
  });
  const { kind, question, answer, options } = asked;
  const prompt = `${tell(events)}\nQ: ${question}\nA:`;
  const more = draw.shuffled(questionsOf(events)).filter((other) =>
    other.question !== question && splitOf("reading", other.combination) === place.split
  ).slice(0, MORE_QUESTIONS);
  const rest = more.map((other) => `\nQ: ${other.question}\nA: ${other.answer}`);
  return {
    ...place,
    family: "reading",
    kind,
    combination,
    prompt,
    answer,
    text: [`${prompt} ${answer}`, ...rest].join(""),
    labels: options,
    grade: oneAnswer(answer, (said) => options.some((option) => option.toLowerCase() === said)),
  };
}

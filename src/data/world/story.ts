/**
 * Stories, passages with questions, and passages with a summary. All three tell what happened in
 * the grammar of `events.ts`, so that what follows from a passage is known.
 *
 * @module
 */
import { Draw, heldOut } from "./draw.ts";
import { readSentence, stateAfter, tell, type WorldEvent } from "./events.ts";
import { briefness, firstLine, gradeOf } from "./grade.ts";
import { type Cast, drawCast, happen } from "./happenings.ts";
import type { Grade, Place, WorldItem } from "./types.ts";

/** The last sentence of every story. */
export const ENDING = "The end.";

/** Where everyone is at first, the hero before the others. */
export function opening({ people, places }: Cast): WorldEvent[] {
  return people.map((who, i) => ({ act: "was", who, place: places[i % places.length]! }));
}

/**
 * A story: its first two sentences are the prompt. Held out: hero, thing and first place together.
 *
 * @throws {RangeError} As `heldOut` and `Draw`.
 */
export function storyItem(place: Place): WorldItem {
  const draw = new Draw("story", place);
  const { cast, combination } = heldOut("story", place.split, () => {
    const cast = drawCast(draw, { people: 2, things: 1, places: 3 });
    return { cast, combination: [cast.people[0], cast.things[0], cast.places[0]].join(" ") };
  });
  const hero = cast.people[0]!;
  const start: WorldEvent[] = [
    { act: "was", who: hero, place: cast.places[0]! },
    { act: "took", who: hero, thing: cast.things[0]!, colour: cast.colours[0]! },
  ];
  const second: WorldEvent = { act: "was", who: cast.people[1]!, place: cast.places[1]! };
  const count = draw.between(10, 16);
  const all = happen(draw, cast, [...start, second], { count, withNeeds: true });
  const prompt = tell(start, { pronouns: true });
  const rest = tell(all.slice(2), { pronouns: true, after: hero });
  const answer = `${rest} ${ENDING}`;
  return {
    ...place,
    family: "story",
    kind: "story",
    combination,
    prompt,
    answer,
    text: `${prompt} ${answer}`,
    grade: (response) => gradeStory(start, response),
  };
}

/**
 * A story goes on well when each sentence is of the grammar and possible after those before it, and
 * it ends. `truthful` is the share of its sentences before the first impossible one; `helpful` asks
 * for three sentences and the ending.
 */
function gradeStory(start: readonly WorldEvent[], response: string): Grade {
  const line = firstLine(response);
  const state = stateAfter(start);
  const hasEnd = line.endsWith(ENDING);
  const told = hasEnd ? line.slice(0, -ENDING.length) : line;
  const sentences = told.split(".").map((sentence) => sentence.trim()).filter((s) => s !== "");
  let last = start.at(-1)?.who;
  let good = 0;
  for (const sentence of sentences) {
    const event = readSentence(sentence, last);
    if (!event || !state.allows(event)) break;
    state.apply(event);
    last = event.who;
    good++;
  }
  const truthful = sentences.length === 0 ? 0 : good / sentences.length;
  const helpful = (Math.min(good, 3) / 3 + (hasEnd ? 1 : 0)) / 2;
  return gradeOf({ exact: truthful === 1 && helpful === 1, truthful, helpful });
}

/**
 * A passage about a hero, and one sentence that says what became of the thing: who brought it
 * where, or who gave it to whom, and where that was. Held out: hero, thing and last place together.
 *
 * @throws {RangeError} As `heldOut` and `Draw`.
 */
export function summaryItem(place: Place): WorldItem {
  const draw = new Draw("summary", place);
  const { cast, combination } = heldOut("summary", place.split, () => {
    const cast = drawCast(draw, { people: 3, things: 1, places: 4 });
    return { cast, combination: [cast.people[0], cast.things[0], cast.places[3]].join(" ") };
  });
  const [hero, friend, other] = cast.people as [string, string, string];
  const [first, second, third, last] = cast.places as [string, string, string, string];
  const [thing, colour] = [cast.things[0]!, cast.colours[0]!];
  const isGift = draw.chance(0.5);
  const events: WorldEvent[] = [
    { act: "was", who: hero, place: first },
    { act: "took", who: hero, thing, colour },
  ];
  if (draw.chance(0.5)) events.push({ act: "went", who: hero, place: second });
  // Someone who does not matter, and a place that does not.
  events.push({ act: "was", who: other, place: third });
  const asides: WorldEvent[] = isGift ? [{ act: "was", who: friend, place: last }] : [];
  events.push(...asides, { act: "went", who: hero, place: last });
  if (isGift) {
    events.push({ act: "gave", who: hero, thing, to: friend });
    if (draw.chance(0.5)) events.push({ act: "thanked", who: friend, to: hero });
  } else {
    events.push({ act: "dropped", who: hero, thing });
  }
  if (draw.chance(0.5)) events.push({ act: "went", who: other, place: second });
  const passage = tell(events, { pronouns: true });
  const answer = isGift
    ? `${hero} gave the ${colour} ${thing} to ${friend} in the ${last}.`
    : `${hero} brought the ${colour} ${thing} to the ${last}.`;
  const prompt = `${passage}\nSummary:`;
  return {
    ...place,
    family: "summary",
    kind: isGift ? "gift" : "move",
    combination,
    prompt,
    answer,
    text: `${prompt} ${answer}`,
    grade: (response) => gradeSummary(answer, response),
  };
}

const SUMMARY =
  /^(?<who>\w+) (?:gave the (?<given>\w+ \w+) to (?<to>\w+) in|brought the (?<brought>\w+ \w+) to) the (?<place>\w+)\.?$/;

/** `truthful` is the share of who, what, to whom and where that is right. */
function gradeSummary(answer: string, response: string): Grade {
  const said = firstLine(response);
  const want = SUMMARY.exec(answer)!.groups!;
  const got = SUMMARY.exec(said)?.groups;
  if (!got) {
    return gradeOf({ exact: false, truthful: 0, helpful: 0, brief: briefness(said, answer) });
  }
  const parts = Object.keys(want).filter((part) =>
    want[part] !== undefined || got[part] !== undefined
  );
  const right = parts.filter((part) => got[part] === want[part]).length;
  const truthful = right / parts.length;
  const exact = truthful === 1;
  return gradeOf({ exact, truthful, helpful: exact ? 1 : 0.5, brief: briefness(said, answer) });
}

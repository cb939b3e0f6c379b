/**
 * What happens in the small world, in words and out of words: sentences of a fixed grammar, and the
 * state that they lead to. One thing of a kind is in a story, so that "the ball" is clear.
 *
 * @module
 */
import { capital, COLOURS, NEEDS, PEOPLE, personOf, PLACES, THINGS } from "./words.ts";

/** What one sentence says. People are named. */
export type WorldEvent =
  | { readonly act: "was"; readonly who: string; readonly place: string }
  | { readonly act: "went"; readonly who: string; readonly place: string }
  | { readonly act: "took"; readonly who: string; readonly thing: string; readonly colour: string }
  | { readonly act: "dropped"; readonly who: string; readonly thing: string }
  | { readonly act: "gave"; readonly who: string; readonly thing: string; readonly to: string }
  | { readonly act: "needed"; readonly who: string; readonly need: string }
  | { readonly act: "relieved"; readonly who: string; readonly need: string }
  | { readonly act: "thanked"; readonly who: string; readonly to: string }
  | { readonly act: "glad"; readonly who: string };

/** Who and what is where. */
export class WorldState {
  /** By person. */
  readonly places = new Map<string, string>();
  /** Holders, by thing. */
  readonly holders = new Map<string, string>();
  /** Places of things that nobody holds. */
  readonly lying = new Map<string, string>();
  /** By thing. */
  readonly colours = new Map<string, string>();
  /** By person. */
  readonly needs = new Map<string, string>();
  /** Who gave to whom last, until there are thanks. */
  owed: { from: string; by: string } | undefined;
  /** Who has a reason to be glad. */
  readonly gladdened = new Set<string>();

  /** A copy that goes its own way. */
  copy(): WorldState {
    const copy = new WorldState();
    for (const key of ["places", "holders", "lying", "colours", "needs"] as const) {
      for (const [name, value] of this[key]) copy[key].set(name, value);
    }
    for (const name of this.gladdened) copy.gladdened.add(name);
    copy.owed = this.owed;
    return copy;
  }

  /** Whether an event can happen now. */
  allows(event: WorldEvent): boolean {
    const at = this.places.get(event.who);
    switch (event.act) {
      case "was":
        return at === undefined;
      case "went":
        return at !== undefined && at !== event.place;
      case "took": {
        if (at === undefined || this.holders.has(event.thing)) return false;
        const colour = this.colours.get(event.thing);
        const lies = this.lying.get(event.thing);
        return (colour ?? event.colour) === event.colour && (lies ?? at) === at;
      }
      case "dropped":
        return this.holders.get(event.thing) === event.who;
      case "gave":
        return this.holders.get(event.thing) === event.who && event.to !== event.who &&
          at !== undefined && this.places.get(event.to) === at;
      case "needed":
        return at !== undefined && !this.needs.has(event.who);
      case "relieved":
        return this.needs.get(event.who) === event.need;
      case "thanked":
        return this.owed?.by === event.who && this.owed.from === event.to;
      case "glad":
        return this.gladdened.has(event.who);
    }
  }

  /** What an event changes. Whether it can happen is not looked at. */
  apply(event: WorldEvent): void {
    switch (event.act) {
      case "was":
      case "went":
        this.places.set(event.who, event.place);
        break;
      case "took":
        this.colours.set(event.thing, event.colour);
        this.holders.set(event.thing, event.who);
        this.lying.delete(event.thing);
        break;
      case "dropped":
        this.holders.delete(event.thing);
        this.lying.set(event.thing, this.places.get(event.who)!);
        break;
      case "gave":
        this.holders.set(event.thing, event.to);
        this.owed = { from: event.who, by: event.to };
        this.gladdened.add(event.to);
        break;
      case "needed":
        this.needs.set(event.who, event.need);
        break;
      case "relieved":
        this.needs.delete(event.who);
        this.gladdened.add(event.who);
        break;
      case "thanked":
        this.owed = undefined;
        break;
      case "glad":
        this.gladdened.delete(event.who);
        break;
    }
  }

  /** Where a thing is, with its holder or where it lies. */
  placeOf(thing: string): string | undefined {
    const holder = this.holders.get(thing);
    return holder === undefined ? this.lying.get(thing) : this.places.get(holder);
  }
}

/** The state after events. */
export function stateAfter(events: readonly WorldEvent[]): WorldState {
  const state = new WorldState();
  for (const event of events) state.apply(event);
  return state;
}

/** An event as a sentence; `subject` stands in for who it is of. */
function sentenceOf(event: WorldEvent, subject: string): string {
  switch (event.act) {
    case "was":
      return `${subject} was in the ${event.place}.`;
    case "went":
      return `${subject} went to the ${event.place}.`;
    case "took":
      return `${subject} took the ${event.colour} ${event.thing}.`;
    case "dropped":
      return `${subject} dropped the ${event.thing}.`;
    case "gave":
      return `${subject} gave the ${event.thing} to ${event.to}.`;
    case "needed":
      return `${subject} was ${event.need}.`;
    case "relieved":
      return `${subject} ${NEEDS.find(({ need }) => need === event.need)!.remedy}.`;
    case "thanked":
      return `${subject} thanked ${event.to}.`;
    case "glad":
      return `${subject} was glad.`;
  }
}

/**
 * Events as sentences. With pronouns, a subject that was the subject before is "he" or "she".
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const events = [
 *   { act: "was", who: "Mia", place: "park" },
 *   { act: "went", who: "Mia", place: "barn" },
 * ] as const;
 * assertEquals(tell(events, { pronouns: true }), "Mia was in the park. She went to the barn.");
 * ```
 */
export function tell(
  events: readonly WorldEvent[],
  { pronouns = false, after }: { pronouns?: boolean; after?: string | undefined } = {},
): string {
  let last = after;
  return events.map((event) => {
    const isSame = pronouns && event.who === last;
    last = event.who;
    return sentenceOf(event, isSame ? capital(personOf(event.who)!.pronoun) : event.who);
  }).join(" ");
}

const any = (words: readonly string[]) => `(${words.join("|")})`;
const NAMES = any(PEOPLE.map(({ name }) => name));
const WHO = any(["He", "She", ...PEOPLE.map(({ name }) => name)]);
const PLACE = any(PLACES);
const THING = any(THINGS);
const FORMS: readonly (readonly [RegExp, (who: string, a: string, b: string) => WorldEvent])[] = [
  [`was in the ${PLACE}`, (who: string, place: string) => ({ act: "was", who, place })] as const,
  [`went to the ${PLACE}`, (who: string, place: string) => ({ act: "went", who, place })] as const,
  [
    `took the ${any(COLOURS)} ${THING}`,
    (who: string, colour: string, thing: string) => ({ act: "took", who, colour, thing }),
  ] as const,
  [
    `dropped the ${THING}`,
    (who: string, thing: string) => ({ act: "dropped", who, thing }),
  ] as const,
  [
    `gave the ${THING} to ${NAMES}`,
    (who: string, thing: string, to: string) => ({ act: "gave", who, thing, to }),
  ] as const,
  [`thanked ${NAMES}`, (who: string, to: string) => ({ act: "thanked", who, to })] as const,
  ["was glad", (who: string) => ({ act: "glad", who })] as const,
  [
    `was ${any(NEEDS.map(({ need }) => need))}`,
    (who: string, need: string) => ({ act: "needed", who, need }),
  ] as const,
  ...NEEDS.map(({ need, remedy }) =>
    [remedy, (who: string) => ({ act: "relieved", who, need })] as const
  ),
].map(([form, event]) => [new RegExp(`^${WHO} ${form}$`), event as never]);

/**
 * Reads a sentence without its full stop.
 *
 * @param last who the subject before was: whom a pronoun stands for
 * @returns undefined when it is no sentence of this grammar, or its pronoun fits nobody
 */
export function readSentence(sentence: string, last: string | undefined): WorldEvent | undefined {
  for (const [form, event] of FORMS) {
    const match = form.exec(sentence);
    if (!match) continue;
    const [, subject, a, b] = match as unknown as [string, string, string, string];
    if (subject !== "He" && subject !== "She") return event(subject, a, b);
    const isFit = last !== undefined && personOf(last)?.pronoun === subject.toLowerCase();
    return isFit ? event(last, a, b) : undefined;
  }
  return undefined;
}

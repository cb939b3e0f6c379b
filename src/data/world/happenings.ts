/**
 * Draws what happens to a cast: events that can follow each other.
 *
 * @module
 */
import type { Draw } from "./draw.ts";
import { type WorldEvent, WorldState } from "./events.ts";
import { COLOURS, NEEDS, PEOPLE, PLACES, THINGS } from "./words.ts";

/** Whom a story is about. */
export interface Cast {
  /** The first is the hero. */
  readonly people: readonly string[];
  /** No two of a kind. */
  readonly things: readonly string[];
  /** By thing. */
  readonly colours: readonly string[];
  /** Where it may happen; the first is where it begins. */
  readonly places: readonly string[];
}

/** Draws a cast of so many. */
export function drawCast(
  draw: Draw,
  { people, things, places }: { people: number; things: number; places: number },
): Cast {
  return {
    people: draw.some(PEOPLE, people).map(({ name }) => name),
    things: draw.some(THINGS, things),
    colours: Array.from({ length: things }, () => draw.pick(COLOURS)),
    places: draw.some(PLACES, places),
  };
}

/** The events that may come next, with how likely each act is. */
function nextEvents(state: WorldState, cast: Cast, withNeeds: boolean): [WorldEvent, number][] {
  const events: [WorldEvent, number][] = [];
  const add = (event: WorldEvent, weight: number) => {
    if (state.allows(event)) events.push([event, weight]);
  };
  for (const who of cast.people) {
    for (const place of cast.places) add({ act: "went", who, place }, 1);
    cast.things.forEach((thing, i) => {
      add({ act: "took", who, thing, colour: cast.colours[i]! }, 4);
      add({ act: "dropped", who, thing }, 1);
      for (const to of cast.people) {
        add({ act: "gave", who, thing, to }, 4);
        add({ act: "thanked", who, to }, 6);
      }
    });
    if (!withNeeds) continue;
    for (const { need } of NEEDS) {
      add({ act: "needed", who, need }, 0.15);
      add({ act: "relieved", who, need }, 6);
    }
    add({ act: "glad", who }, 3);
  }
  return events;
}

/**
 * Goes on with `events` until there are so many.
 *
 * @param options `withNeeds`: whether anyone is hungry, tired or glad
 */
export function happen(
  draw: Draw,
  cast: Cast,
  events: readonly WorldEvent[],
  { count, withNeeds }: { count: number; withNeeds: boolean },
): WorldEvent[] {
  const state = new WorldState();
  const all = [...events];
  for (const event of all) state.apply(event);
  while (all.length < count) {
    const event = draw.weighted(nextEvents(state, cast, withNeeds));
    state.apply(event);
    all.push(event);
  }
  return all;
}

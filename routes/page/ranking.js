/**
 * Answers put in order, best first, with ties.
 *
 * @module
 */

/**
 * An order as it is being made. Answers are picked from the best on; the last one left falls into its
 * place by itself. A tie joins the next answer to those before it; before the first pick, it joins
 * all of them.
 */
export class Ranking {
  /** @type {number[][]} best first */
  #groups = [];
  #isTie = false;
  #count;

  /** @param {number} count how many answers there are */
  constructor(count) {
    this.#count = count;
  }

  /**
   * The next best answer, or one that goes out of the order again.
   *
   * @param {number} answer from 0
   */
  toggle(answer) {
    if (!Number.isInteger(answer) || answer < 0 || answer >= this.#count) return;
    if (this.#groups.flat().includes(answer)) {
      this.#groups = this.#groups.map((group) => group.filter((other) => other !== answer))
        .filter((group) => group.length > 0);
      this.#isTie = false;
      return;
    }
    const last = this.#groups.at(-1);
    if (this.#isTie && last) last.push(answer);
    else this.#groups.push([answer]);
    this.#isTie = false;
  }

  /** The next answer is as good as the last one; again, it is not. */
  tie() {
    if (this.#left.length > 0) this.#isTie = !this.#isTie;
  }

  /** Takes the last step back. */
  undo() {
    if (this.#isTie) {
      this.#isTie = false;
      return;
    }
    const last = this.#groups.at(-1);
    last?.pop();
    if (last?.length === 0) this.#groups.pop();
  }

  /** Whether the next answer is to tie with the last one. */
  get isTie() {
    return this.#isTie;
  }

  /**
   * The whole order, undefined while it is not clear.
   *
   * @returns {number[][] | undefined} best first, ties together
   */
  get order() {
    const left = this.#left;
    const groups = this.#groups.map((group) => [...group]);
    if (left.length === 0) return groups;
    const last = groups.at(-1);
    if (last === undefined) return this.#isTie ? [left] : undefined;
    if (left.length > 1) return undefined;
    if (this.#isTie) last.push(...left);
    else groups.push(left);
    return groups;
  }

  /**
   * The place of each answer as far as it is known, from 1; those that tie share one.
   *
   * @returns {(number | undefined)[]}
   */
  get places() {
    const groups = this.order ?? this.#groups;
    /** @type {(number | undefined)[]} */
    const places = Array(this.#count).fill(undefined);
    let place = 1;
    for (const group of groups) {
      for (const answer of group) places[answer] = place;
      place += group.length;
    }
    return places;
  }

  /** @returns {number[]} not picked yet */
  get #left() {
    const picked = this.#groups.flat();
    return [...Array(this.#count).keys()].filter((answer) => !picked.includes(answer));
  }
}

/** @typedef {import("../schemas/feedback_queue.ts").NextBody["data"][number]} Task */

/**
 * What is said of a task's answers.
 *
 * @param {Task} task
 * @param {readonly (readonly number[])[] | "both_bad"} verdict positions as shown, best first
 * @returns {Record<string, unknown>} the body of `POST /v1/feedback`
 */
export function feedbackOf({ candidates, presented_order }, verdict) {
  const common = {
    completion_ids: candidates.map(({ completion_id }) => completion_id),
    presented_order,
  };
  if (verdict === "both_bad") {
    return { type: "comparison", ...common, comparison: { outcome: "both_bad" } };
  }
  // From positions on the page to indices of the candidates.
  const order = verdict.map((group) =>
    group.map((position) => presented_order[position] ?? position)
  );
  if (candidates.length > 2) return { type: "ranking", ...common, ranking: order };
  const [chosen, rejected] = order.flat();
  const comparison = order.length === 1
    ? { outcome: "tie" }
    : { chosen, rejected, outcome: "chosen" };
  return { type: "comparison", ...common, comparison };
}

/**
 * "1st", "2nd", …
 *
 * @param {number} place
 * @returns {string}
 */
export function ordinal(place) {
  return `${place}${["th", "st", "nd", "rd"][place] ?? "th"}`;
}

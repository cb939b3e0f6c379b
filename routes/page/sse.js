/**
 * Server-sent events, as text comes in pieces.
 *
 * @module
 */

/**
 * An event: its name ("message" where it has none) and its data.
 *
 * @typedef {object} ServerEvent
 * @property {string} event
 * @property {string} data
 */

/**
 * Cuts a stream's text into events as the HTML standard reads them; pieces may end anywhere, in the
 * middle of a line end too. Comments, ids and retry times are passed over.
 */
export class EventParser {
  #held = "";
  /** @type {string[]} */
  #data = [];
  #event = "";
  #isFirst = true;

  /**
   * Takes a piece, and returns the events that are whole with it.
   *
   * @param {string} text
   * @returns {ServerEvent[]}
   */
  push(text) {
    if (this.#isFirst && text !== "") {
      this.#isFirst = false;
      if (text.startsWith("\uFEFF")) text = text.slice(1);
    }
    this.#held += text;
    /** @type {ServerEvent[]} */
    const events = [];
    const lineEnd = /\r\n|\r(?!$)|\n/g; // an \r at the very end may be half of a line end
    let from = 0;
    for (const { 0: end, index } of this.#held.matchAll(lineEnd)) {
      const event = this.#line(this.#held.slice(from, index));
      if (event !== undefined) events.push(event);
      from = index + end.length;
    }
    this.#held = this.#held.slice(from);
    return events;
  }

  /**
   * @param {string} line
   * @returns {ServerEvent | undefined} the event that an empty line ends
   */
  #line(line) {
    if (line === "") return this.#end();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    if (field === "event") this.#event = value;
    return undefined;
  }

  #end() {
    const [data, event] = [this.#data, this.#event];
    this.#data = [];
    this.#event = "";
    return data.length === 0 ? undefined : { event: event || "message", data: data.join("\n") };
  }
}

/**
 * Stop strings in text that comes in pieces.
 *
 * @module
 */

/**
 * Lets text through up to the first stop string that is complete, however it is cut into pieces;
 * what may be the beginning of one is held back.
 *
 * @example A stop string over two pieces
 * ```ts
 * import { StopScanner } from "./stop.ts";
 * const scanner = new StopScanner(["\n\n"]);
 * console.assert(scanner.push("one\n") === "one" && scanner.push("\ntwo") === "");
 * console.assert(scanner.found === "\n\n" && scanner.end() === "");
 * ```
 */
export class StopScanner {
  readonly #stops: readonly string[];
  #held = "";
  #found: string | undefined;

  /**
   * Watches for these strings.
   *
   * @throws {RangeError} When one is empty.
   */
  constructor(stops: readonly string[]) {
    if (stops.includes("")) {
      throw new RangeError("Cannot stop at a text: 1 character or more: none");
    }
    this.#stops = stops;
  }

  /** The stop string that ended the text; nothing passes after it. */
  get found(): string | undefined {
    return this.#found;
  }

  /** The text that is now certain not to be part of a stop string. */
  push(piece: string): string {
    if (this.#found !== undefined) return "";
    const text = this.#held + piece;
    let first: { at: number; end: number; stop: string } | undefined;
    for (const stop of this.#stops) {
      const at = text.indexOf(stop);
      if (at === -1) continue;
      const end = at + stop.length;
      // The one that is complete first; of two at once the longer.
      if (!first || end < first.end || (end === first.end && at < first.at)) {
        first = { at, end, stop };
      }
    }
    if (first) {
      this.#found = first.stop;
      this.#held = "";
      return text.slice(0, first.at);
    }
    let held = 0;
    for (const stop of this.#stops) {
      let length = Math.min(stop.length - 1, text.length);
      while (length > held && !text.endsWith(stop.slice(0, length))) length--;
      held = Math.max(held, length);
    }
    this.#held = text.slice(text.length - held);
    return text.slice(0, text.length - held);
  }

  /** What was held back: the text ended without the rest of the stop string. */
  end(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }
}

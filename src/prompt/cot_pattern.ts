/**
 * Regular expressions of a request: in RE2's syntax, which has no look-around and no references
 * back, and matched in time that grows with the text, never exponentially.
 *
 * @module
 */
import { RE2JS, RE2JSException } from "re2js";
import { CannotError } from "../config/cannot.ts";

/** The longest expression, in UTF-16 units; compiling one as long takes a tenth of a second. */
export const MOST_PATTERN_UNITS = 512;

/** The largest compiled one, in instructions: "a{100}" has a hundred of them. */
export const MOST_PATTERN_STEPS = 512;

/**
 * Instructions times characters that one text may cost; a search is linear in it, but there may be
 * one for each character. Some 50 ms.
 */
const MOST_WORK = 1 << 22;

/** An expression that texts are searched for. */
export class AnswerPattern {
  readonly #compiled: RE2JS;

  /** Compiles it. @throws {CannotError} When it does not compile, or is too large. */
  constructor(source: string) {
    const act = "use the regular expression";
    if (source.length > MOST_PATTERN_UNITS) {
      const want = `want at most ${MOST_PATTERN_UNITS} characters`;
      throw new CannotError(act, want, `it has ${source.length}`);
    }
    try {
      this.#compiled = RE2JS.compile(source);
    } catch (error) {
      if (!(error instanceof RE2JSException)) throw error;
      const want = "want RE2's syntax, which has no look-around and no references back";
      throw new CannotError(act, want, error.message, { cause: error });
    }
    const steps = this.#compiled.programSize();
    if (steps > MOST_PATTERN_STEPS) {
      const want = `want one that compiles to at most ${MOST_PATTERN_STEPS} steps`;
      throw new CannotError(act, want, `it has ${steps}`);
    }
  }

  /**
   * What the first group holds in each match, or the whole match where there is no group; matches
   * without any text are left out. A text that would cost too much has none after that.
   */
  *matches(text: string): Generator<string, void> {
    const matcher = this.#compiled.matcher(text);
    const steps = this.#compiled.programSize();
    const group = Math.min(1, this.#compiled.groupCount());
    let work = 0;
    for (let from = 0; from <= text.length;) {
      work += steps * (text.length - from);
      if (work > MOST_WORK || !matcher.find()) return;
      const found = matcher.group(group);
      if (found) yield found;
      // An empty match moves on by itself.
      from = Math.max(from + 1, matcher.end());
    }
  }
}

/**
 * Banned text: strings and regular expressions that what is written must not show, however it is
 * cut into pieces.
 *
 * @module
 */

/** What may not be written. */
export interface GuardOptions {
  /** Banned as they are, letter by letter. @default none */
  readonly strings?: readonly string[];
  /** Banned wherever they match; whoever runs the server wrote them. @default none */
  readonly patterns?: readonly RegExp[];
  /**
   * The longest match of a pattern, in UTF-16 units, that is sure not to show its beginning: so
   * much text waits until more comes, where there is a pattern. @default 64
   */
  readonly holdUnits?: number;
}

/** A rule that texts are watched with. */
export class ContentGuard {
  readonly #strings: readonly string[];
  readonly #patterns: readonly RegExp[];
  readonly #holdUnits: number;

  /** Bans all of these. @throws {RangeError} When a string is empty, or holdUnits is no count. */
  constructor({ strings = [], patterns = [], holdUnits = 64 }: GuardOptions = {}) {
    if (strings.includes("")) {
      throw new RangeError("Cannot ban a text: 1 character or more: none");
    }
    if (!Number.isInteger(holdUnits) || holdUnits < 1) {
      throw new RangeError(`Cannot ban a text: "holdUnits" from 1: got ${holdUnits}`);
    }
    this.#strings = strings;
    // "g" keeps a place between calls, "y" would look at one place only.
    this.#patterns = patterns.map(({ source, flags }) =>
      new RegExp(source, flags.replaceAll(/[gy]/g, ""))
    );
    this.#holdUnits = holdUnits;
  }

  /** Whether anything is banned. */
  get isEmpty(): boolean {
    return this.#strings.length === 0 && this.#patterns.length === 0;
  }

  /** Watches one text. */
  scanner(): GuardScanner {
    return new GuardScanner(this.#strings, this.#patterns, this.#holdUnits);
  }
}

/** Lets a text through up to a banned place; what may be the beginning of one is held back. */
export class GuardScanner {
  readonly #strings: readonly string[];
  readonly #patterns: readonly RegExp[];
  readonly #holdUnits: number;
  #before = ""; // let through already: what \b and look-behind see
  #held = "";
  #found = false;

  /** Made by {@linkcode ContentGuard.scanner}. */
  constructor(strings: readonly string[], patterns: readonly RegExp[], holdUnits: number) {
    this.#strings = strings;
    this.#patterns = patterns;
    this.#holdUnits = holdUnits;
  }

  /** Whether a banned place was met; nothing passes from there on. */
  get found(): boolean {
    return this.#found;
  }

  /** The text that is now certain to be allowed. */
  push(piece: string): string {
    return this.#scan(piece, false);
  }

  /** The rest of it: the text has ended. */
  end(): string {
    return this.#scan("", true);
  }

  #scan(piece: string, ended: boolean): string {
    if (this.#found) return "";
    const text = this.#held + piece;
    const banned = this.#firstBanned(text);
    if (banned !== undefined) {
      // A match that ends with the text may not be one any more when more comes: /\bfoo\b/, /foo$/.
      const isOpen = banned.isOpen && !ended && text.length - banned.at < this.#holdUnits;
      this.#found = !isOpen;
      const sure = isOpen ? text.length - this.#holdBack(text) : banned.at;
      return this.#release(text, Math.min(banned.at, sure));
    }
    return this.#release(text, ended ? text.length : text.length - this.#holdBack(text));
  }

  /** Of the banned places the one that is complete first, in `text`; 0 where it began before. */
  #firstBanned(text: string): { at: number; isOpen: boolean } | undefined {
    let first: { at: number; end: number; isOpen: boolean } | undefined;
    const offer = (place: { at: number; end: number; isOpen: boolean }) => {
      const sooner = first === undefined || place.end < first.end;
      // Of two that end together the longer, and one that is certain.
      const longer = place.end === first?.end &&
        (place.at < first.at || (place.at === first.at && !place.isOpen));
      if (sooner || longer) first = place;
    };
    for (const banned of this.#strings) {
      const at = text.indexOf(banned);
      if (at !== -1) offer({ at, end: at + banned.length, isOpen: false });
    }
    const seen = this.#before + text;
    for (const pattern of this.#patterns) {
      const match = pattern.exec(seen);
      if (match === null || match[0] === "") continue;
      const at = match.index - this.#before.length;
      const end = at + match[0].length;
      offer({ at: Math.max(0, at), end, isOpen: end === text.length });
    }
    return first;
  }

  /** How much of the text's end may be the beginning of something banned. */
  #holdBack(text: string): number {
    let held = this.#patterns.length > 0 ? Math.min(this.#holdUnits, text.length) : 0;
    for (const banned of this.#strings) {
      let length = Math.min(banned.length - 1, text.length);
      while (length > held && !text.endsWith(banned.slice(0, length))) length--;
      held = Math.max(held, length);
    }
    return held;
  }

  /** Lets the first `length` units pass, but never half of a character. */
  #release(text: string, length: number): string {
    const isLow = (text.charCodeAt(length) & 0xfc00) === 0xdc00;
    const isHigh = (text.charCodeAt(length - 1) & 0xfc00) === 0xd800;
    const cut = length > 0 && isHigh && isLow ? length - 1 : length;
    const passed = text.slice(0, cut);
    this.#held = text.slice(cut);
    this.#before = (this.#before + passed).slice(-this.#holdUnits);
    return passed;
  }
}

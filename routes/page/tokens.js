/**
 * Written tokens with their log-probabilities, whichever route they come from.
 *
 * @module
 */

/**
 * A token as it is shown. Texts of cells that follow each other make the whole text; a cell whose
 * text is empty is one that does not show, such as an end of text or a part of a character.
 *
 * @typedef {object} Cell
 * @property {string} text what it adds to the text
 * @property {string} token its name
 * @property {number} logprob natural logarithm
 * @property {{ token: string, logprob: number }[]} top the likeliest at its place, best first
 */

/** @typedef {import("../schemas/completions.ts").CompletionLogprobs} CompletionLogprobs */
/** @typedef {NonNullable<import("../schemas/chat.ts").ChatLogprobs>} ChatLogprobs */

/** The log-probability that stands for minus infinity. */
const LOWEST = -9999;

/**
 * Cells of a text whose tokens come with their places in it. A token's text goes from its place to
 * the next token's, so a character made of several tokens is in the first of them that has it.
 */
export class CellReader {
  #points = 0; // of the text before what is held
  /** @type {string[]} code points that no token is known to end */
  #text = [];
  /** @type {{ cell: Cell, offset: number } | undefined} the last token: where it ends is not known */
  #open = undefined;

  /**
   * Takes a piece of a stream, and returns the cells that are whole.
   *
   * @param {string} text
   * @param {CompletionLogprobs | null} logprobs
   * @returns {Cell[]}
   */
  push(text, logprobs) {
    this.#text.push(...text);
    if (logprobs === null) return [];
    /** @type {Cell[]} */
    const cells = [];
    for (const [index, token] of logprobs.tokens.entries()) {
      const offset = logprobs.text_offset[index] ?? this.#points + this.#text.length;
      cells.push(...this.#close(offset));
      const cell = {
        text: "",
        token,
        logprob: logprobs.token_logprobs[index] ?? 0,
        top: alternatives(logprobs.top_logprobs[index]),
      };
      this.#open = { cell, offset };
    }
    return cells;
  }

  /**
   * The last cells, once the text has ended.
   *
   * @returns {Cell[]}
   */
  end() {
    return this.#close(this.#points + this.#text.length);
  }

  /** What is there of the text and in no cell yet. */
  get rest() {
    return this.#text.join("");
  }

  /**
   * @param {number} offset where the open cell ends
   * @returns {Cell[]}
   */
  #close(offset) {
    const open = this.#open;
    if (open === undefined) return [];
    this.#open = undefined;
    const count = Math.max(0, offset - this.#points);
    open.cell.text = this.#text.splice(0, count).join("");
    this.#points += [...open.cell.text].length;
    return [open.cell];
  }
}

/**
 * Cells of a chat's tokens, which come with their bytes: a character's text is in the token that
 * ends it. A token that the text leaves out, such as the end of a turn, has none.
 */
export class ChatCellReader {
  #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #rest = ""; // text that is in no cell yet
  /** @type {Cell[]} whose text may be still to come */
  #waiting = [];

  /**
   * Takes a piece of a stream, and returns the cells that are whole.
   *
   * @param {string} text
   * @param {ChatLogprobs["content"]} content
   * @returns {Cell[]}
   */
  push(text, content) {
    this.#rest += text;
    this.#waiting.push(...content.map(({ token, logprob, bytes, top_logprobs }) => ({
      text: bytes === null ? token : this.#decoder.decode(Uint8Array.from(bytes), { stream: true }),
      token,
      logprob,
      top: top_logprobs.map((other) => ({ token: other.token, logprob: other.logprob }))
        .sort((a, b) => b.logprob - a.logprob),
    })));
    const wait = this.#waiting.findIndex((cell) => !this.#take(cell));
    return this.#waiting.splice(0, wait < 0 ? this.#waiting.length : wait);
  }

  /**
   * The last cells, once the text has ended.
   *
   * @returns {Cell[]}
   */
  end() {
    for (const cell of this.#waiting) cell.text = "";
    return this.#waiting.splice(0);
  }

  /** What is there of the text and in no cell. */
  get rest() {
    return this.#rest;
  }

  /**
   * @param {Cell} cell
   * @returns {boolean} whether it is known how much of the text is its own
   */
  #take(cell) {
    if (this.#rest.startsWith(cell.text)) this.#rest = this.#rest.slice(cell.text.length);
    else if (cell.text.startsWith(this.#rest)) return false;
    else cell.text = "";
    return true;
  }
}

/**
 * @param {Record<string, number> | null | undefined} top
 * @returns {Cell["top"]} best first
 */
function alternatives(top) {
  return Object.entries(top ?? {})
    .map(([token, logprob]) => ({ token, logprob }))
    .sort((a, b) => b.logprob - a.logprob);
}

/**
 * The probability of a logarithm.
 *
 * @param {number} logprob
 * @returns {number} from 0 to 1
 */
export function probability(logprob) {
  return logprob <= LOWEST ? 0 : Math.exp(Math.min(0, logprob));
}

/**
 * How strongly a token is tinted: 0 where the model was sure of it, 4 where it was a surprise.
 *
 * @param {number} logprob
 * @returns {0 | 1 | 2 | 3 | 4}
 */
export function surprise(logprob) {
  const share = probability(logprob);
  if (share >= 0.7) return 0;
  if (share >= 0.4) return 1;
  if (share >= 0.15) return 2;
  return share >= 0.04 ? 3 : 4;
}

/**
 * The name of a token as people can tell it from others: white space is drawn.
 *
 * @param {string} token
 * @returns {string}
 */
export function visible(token) {
  if (token === "") return "(nothing)";
  return token.replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll(" ", "␣");
}

/**
 * A share in per cent, with as many digits as it needs.
 *
 * @param {number} share from 0 to 1
 * @returns {string}
 */
export function percent(share) {
  const value = 100 * share;
  if (value === 0 || value >= 99.95) return `${Math.round(value)} %`;
  if (value < 0.01) return "< 0.01 %";
  return `${value < 1 ? value.toFixed(2) : value.toFixed(1)} %`;
}

/**
 * How hard the text was to foresee: e to the mean surprise of a token.
 *
 * @param {readonly Cell[]} cells
 * @returns {number | undefined} undefined where there are none
 */
export function perplexity(cells) {
  if (cells.length === 0) return undefined;
  return Math.exp(-cells.reduce((sum, { logprob }) => sum + logprob, 0) / cells.length);
}

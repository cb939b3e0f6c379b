/**
 * A text as it is written, token by token; each tells its probability to who points at it.
 *
 * @module
 */
import { bar, copy, h } from "./dom.js";
import { percent, perplexity, probability, surprise, visible } from "./tokens.js";

/** @typedef {import("./tokens.js").Cell} Cell */

/** How a text ended, in words. */
const ENDINGS = {
  stop: "ended by itself",
  length: "ended by its number of tokens",
  content_filter: "withheld",
};

/** What people may do with a text. */
const HINT = "Left and right arrow keys go from token to token and tell its probability.";

/** One text. */
export class TokenView {
  /** @type {HTMLElement} */
  element;
  /** @type {Cell[]} */
  cells = [];
  #text;
  #pending = h("span"); // text whose tokens have not come
  #card = h("div", { class: "card", hidden: true });
  #spoken = h("p", { class: "spoken", role: "status" });
  #facts = h("div", { class: "facts" });
  /** @type {HTMLElement | undefined} */
  #active = undefined;

  /** @param {{ label: string, given?: string, isTinted: boolean }} options `given` comes before it */
  constructor({ label, given = "", isTinted }) {
    this.#text = h(
      "div",
      { class: "text live", role: "group", "aria-label": `${label}. ${HINT}`, tabIndex: 0 },
      given !== "" && h("span", { class: "given" }, given),
      this.#pending,
      this.#card,
    );
    this.element = h(
      "section",
      { class: isTinted ? "written tinted" : "written", "aria-label": label },
      this.#text,
      this.#spoken,
      this.#facts,
    );
    this.#text.addEventListener("pointerover", ({ target }) => {
      const token = target instanceof Element ? target.closest(".token") : null;
      if (token instanceof HTMLElement) this.#show(token);
    });
    this.#text.addEventListener("pointerleave", () => this.#hide());
    this.#text.addEventListener("blur", () => this.#hide());
    this.#text.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** The text so far. */
  get text() {
    return this.cells.map(({ text }) => text).join("") + (this.#pending.textContent ?? "");
  }

  /**
   * @param {readonly Cell[]} cells new ones
   * @param {string} rest text after them
   */
  push(cells, rest) {
    this.#pending.before(...cells.map((cell) => {
      const index = this.cells.push(cell) - 1;
      return h(
        "span",
        {
          class: "token",
          "data-index": index,
          "data-surprise": surprise(cell.logprob),
          "data-mark": "▪", // a token without text of its own has to be seen, to be pointed at
        },
        cell.text,
      );
    }));
    if (this.#pending.textContent !== rest) this.#pending.textContent = rest;
  }

  /**
   * The text has ended.
   *
   * @param {keyof typeof ENDINGS | null} reason
   * @param {{ label: string, act: () => void }} [next] what can be done with it
   */
  finish(reason, next) {
    this.#text.classList.remove("live");
    const hard = perplexity(this.cells);
    /** @type {HTMLButtonElement} */
    const copyButton = h("button", {
      type: "button",
      class: "quiet",
      onclick: () => void copy(copyButton, this.text),
    }, "Copy");
    this.#facts.replaceChildren(
      h("span", {}, `${this.cells.length} tokens`),
      ...(hard === undefined
        ? []
        : [h("span", {}, `perplexity ${hard.toFixed(hard < 10 ? 2 : 1)}`)]),
      ...(reason === null ? [] : [h("span", {}, ENDINGS[reason])]),
      copyButton,
      ...(next
        ? [h("button", { type: "button", class: "quiet", onclick: next.act }, next.label)]
        : []),
      scale(),
    );
    if (this.cells.length > 0) this.element.append(tableOf(this.cells));
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const { key } = event;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (key === "Escape" && this.#active) {
      event.stopPropagation(); // it closes the card, and stops nothing
      this.#hide();
      return;
    }
    const last = this.cells.length - 1;
    const at = this.#active ? Number(this.#active.dataset.index) : -1;
    const to = { ArrowRight: at + 1, ArrowLeft: at < 0 ? last : at - 1, Home: 0, End: last }[key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    const index = Math.min(last, Math.max(0, to));
    const token = this.#text.querySelector(`[data-index="${index}"]`);
    if (!(token instanceof HTMLElement)) return;
    this.#show(token);
    token.scrollIntoView({ block: "nearest" });
    const cell = /** @type {Cell} */ (this.cells[index]);
    const others = cell.top.filter((other) => other.token !== cell.token).slice(0, 2)
      .map((other) => `${visible(other.token)} ${percent(probability(other.logprob))}`);
    this.#spoken.textContent = `${visible(cell.token)} ${percent(probability(cell.logprob))}` +
      (others.length > 0 ? `; also ${others.join(", ")}` : "");
  }

  /** @param {HTMLElement} token */
  #show(token) {
    if (this.#active === token) return;
    this.#hide();
    this.#active = token;
    token.classList.add("active");
    const cell = /** @type {Cell} */ (this.cells[Number(token.dataset.index)]);
    this.#card.replaceChildren(...cardOf(cell));
    this.#card.hidden = false;
    this.#place(token);
  }

  /** Above the token, where the eye has been; below it at the top of the window. */
  #place(/** @type {HTMLElement} */ token) {
    const around = this.#text.getBoundingClientRect();
    // A token that begins with the space at the end of a line has two boxes.
    const box = [...token.getClientRects()].sort((a, b) => b.width - a.width)[0] ??
      token.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.#card;
    const left = Math.max(0, Math.min(box.left - around.left, around.width - width));
    const top = box.top - height > 0 ? box.top - height : box.bottom;
    this.#card.style.left = `${left}px`;
    this.#card.style.top = `${top - around.top}px`;
  }

  #hide() {
    this.#active?.classList.remove("active");
    this.#active = undefined;
    this.#card.hidden = true;
  }
}

/**
 * @param {Cell} cell
 * @returns {HTMLElement[]}
 */
function cardOf(cell) {
  const head = h(
    "div",
    { class: "head" },
    h("code", {}, visible(cell.token)),
    h("strong", {}, percent(probability(cell.logprob))),
  );
  if (cell.top.length === 0) return [head];
  const rows = cell.top.map(({ token, logprob }) => {
    const share = probability(logprob);
    return h(
      "tr",
      { class: token === cell.token ? "best" : "" },
      h("th", { scope: "row" }, h("code", {}, visible(token))),
      h("td", { class: "track" }, bar(share)),
      h("td", { class: "share" }, percent(share)),
    );
  });
  return [head, h("table", { class: "bars" }, h("tbody", {}, ...rows))];
}

function scale() {
  const steps = [1, 2, 3, 4].map((step) => {
    return h("span", { class: "token", "data-surprise": step, "aria-hidden": "true" });
  });
  return h("span", { class: "scale tinted" }, "expected", ...steps, "surprising");
}

/**
 * All tokens in rows, made when it is opened.
 *
 * @param {readonly Cell[]} cells
 */
function tableOf(cells) {
  const details = h("details", {}, h("summary", {}, "All tokens as a table"));
  details.addEventListener("toggle", () => {
    const head = ["Token", "Probability", "Likeliest at its place"]
      .map((text) => h("th", { scope: "col" }, text));
    const rows = cells.map(({ token, logprob, top }) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, h("code", {}, visible(token))),
        h("td", {}, percent(probability(logprob))),
        h(
          "td",
          {},
          top.slice(0, 3).map((other) => {
            return `${visible(other.token)} ${percent(probability(other.logprob))}`;
          }).join(", "),
        ),
      )
    );
    const table = h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows));
    const label = "All tokens";
    details.append(
      h("div", { class: "tokens-table", role: "region", "aria-label": label, tabIndex: 0 }, table),
    );
  }, { once: true });
  return details;
}

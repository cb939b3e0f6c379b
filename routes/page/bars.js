/**
 * Tables of bars.
 *
 * @module
 */
import { bar, h } from "./dom.js";
import { percent } from "./tokens.js";

/** @typedef {import("./scores.js").Bar} Bar */

/** A table of bars; a row keeps its element while its name is there, so that bars grow and shrink. */
export class BarTable {
  /** @type {HTMLTableElement} */
  element;
  #body = h("tbody");
  /** @type {Map<string, HTMLTableRowElement>} */
  #rows = new Map();

  /** @param {{ caption: string, columns: [name: string, share: string, detail: string] }} texts */
  constructor({ caption, columns: [name, share, detail] }) {
    const head = (/** @type {string} */ text, className = "") => {
      return h("th", { scope: "col", class: className }, text);
    };
    this.element = h(
      "table",
      { class: "bars" },
      h("caption", {}, caption),
      h(
        "thead",
        {},
        h("tr", {}, head(name), h("td"), head(share, "share"), head(detail, "detail")),
      ),
      this.#body,
    );
  }

  /** @param {readonly Bar[]} bars in the order in which they are shown */
  show(bars) {
    const names = new Set(bars.map(({ name }) => name));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      row.remove();
      this.#rows.delete(name);
    }
    for (const [index, { name, share, isBest, detail }] of bars.entries()) {
      let row = this.#rows.get(name);
      if (row === undefined) {
        row = h(
          "tr",
          {},
          h("th", { scope: "row", title: name }, name),
          h("td", { class: "track" }, bar(share)),
          h("td", { class: "share" }),
          h("td", { class: "detail" }),
        );
        this.#rows.set(name, row);
      }
      row.classList.toggle("best", isBest);
      const fill = row.querySelector(".bar > span");
      if (fill instanceof HTMLElement) fill.style.width = `${(100 * share).toFixed(2)}%`;
      /** @type {HTMLElement} */ (row.cells[2]).textContent = percent(share);
      /** @type {HTMLElement} */ (row.cells[3]).textContent = detail;
      if (this.#body.rows[index] !== row) {
        this.#body.insertBefore(row, this.#body.rows[index] ?? null);
      }
    }
  }
}

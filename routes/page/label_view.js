/**
 * Answers side by side, and their order as it is made.
 *
 * @module
 */
import { find, h } from "./dom.js";
import { ordinal, Ranking } from "./ranking.js";

/** @typedef {import("./ranking.js").Task} Task */

/**
 * What people want done.
 *
 * @typedef {object} LabelActions
 * @property {(verdict: number[][] | "both_bad") => void} send
 * @property {() => void} skip
 * @property {() => void} change shows what was sent last
 */

/** The task on the page. */
export class LabelView {
  #section = find("#task", HTMLElement);
  #answers = find("#answers", HTMLElement);
  #send = find("#send", HTMLButtonElement);
  #tie = find("#tie", HTMLButtonElement);
  #bothBad = find("#both-bad", HTMLButtonElement);
  #change = find("#change", HTMLButtonElement);
  #status = find("#status", HTMLElement);
  #actions;
  #ranking = new Ranking(0);
  /** @type {HTMLButtonElement[]} in the order in which they are shown */
  #buttons = [];

  /** @param {LabelActions} actions */
  constructor(actions) {
    this.#actions = actions;
    const on = (/** @type {string} */ id, /** @type {() => void} */ act) => {
      find(`#${id}`, HTMLButtonElement).addEventListener("click", act);
    };
    on("send", () => this.#finish());
    on("tie", () => this.#step(() => this.#ranking.tie()));
    on("both-bad", () => actions.send("both_bad"));
    on("undo", () => this.#step(() => this.#ranking.undo()));
    on("skip", () => actions.skip());
    on("change", () => actions.change());
    this.#section.addEventListener("keydown", (event) => this.#onKey(event));
    document.addEventListener("keydown", (event) => {
      if (!event.altKey || event.code !== "KeyR" || !this.isShown) return;
      event.preventDefault();
      this.#section.focus();
    });
  }

  /** Whether there is a task. */
  get isShown() {
    return !this.#section.hidden;
  }

  /**
   * @param {Task} task
   * @param {{ canChange: boolean }} options
   */
  show(task, { canChange }) {
    const { prompt, candidates, presented_order } = task;
    find("#prompt", HTMLElement).textContent = prompt;
    this.#ranking = new Ranking(candidates.length);
    this.#buttons = [];
    this.#answers.replaceChildren(...presented_order.map((candidate, position) => {
      const text = candidates[candidate]?.text ?? "";
      const button = h("button", { type: "button", class: "rank", "aria-pressed": "false" });
      button.addEventListener("click", () => this.#step(() => this.#ranking.toggle(position)));
      this.#buttons.push(button);
      const label = `Answer ${position + 1}`;
      return h(
        "li",
        { class: "path" },
        button,
        h("p", { class: "text", role: "group", "aria-label": label, tabIndex: 0 }, text.trim()),
      );
    }));
    this.#answers.dataset.count = String(candidates.length);
    this.#bothBad.hidden = candidates.length !== 2;
    this.#change.disabled = !canChange;
    find("#empty", HTMLElement).hidden = true;
    this.#section.hidden = false;
    this.#draw();
    this.#section.focus();
  }

  /** There is no task. */
  showNone() {
    this.#section.hidden = true;
    find("#empty", HTMLElement).hidden = false;
    find("#again", HTMLElement).focus();
  }

  /** @param {string} text what is known of the queue */
  say(text) {
    this.#status.textContent = text;
  }

  /** @param {string} message "" for none */
  fault(message) {
    const fault = find("#fault", HTMLElement);
    fault.textContent = message;
    fault.hidden = message === "";
  }

  #finish() {
    const { order } = this.#ranking;
    if (order) this.#actions.send(order);
    else this.fault("Cannot send yet: pick the answers from the best on, or make them tie (=)");
  }

  /** @param {() => void} act */
  #step(act) {
    this.fault("");
    act();
    this.#draw();
  }

  #draw() {
    const { places, order, isTie } = this.#ranking;
    for (const [position, button] of this.#buttons.entries()) {
      const place = places[position];
      const shared = place !== undefined && places.filter((other) => other === place).length > 1;
      const words = place === undefined ? "" : `${ordinal(place)}${shared ? ", tied" : ""}`;
      button.setAttribute("aria-pressed", String(place !== undefined));
      button.replaceChildren(
        h("kbd", {}, String(position + 1)),
        h("span", {}, words || "not ranked"),
      );
      button.closest("li")?.classList.toggle("agrees", place === 1);
    }
    this.#tie.setAttribute("aria-pressed", String(isTie));
    this.#send.setAttribute("aria-disabled", String(order === undefined));
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const isButton = target instanceof HTMLButtonElement;
    const position = "123456789".indexOf(key);
    const act = position >= 0 && position < this.#buttons.length
      ? () => this.#step(() => this.#ranking.toggle(position))
      : {
        "=": () => this.#step(() => this.#ranking.tie()),
        Backspace: () => this.#step(() => this.#ranking.undo()),
        // A button that has the focus does what it says.
        Enter: isButton ? undefined : () => this.#finish(),
        b: this.#bothBad.hidden ? undefined : () => this.#actions.send("both_bad"),
        s: () => this.#actions.skip(),
        u: this.#change.disabled ? undefined : () => this.#actions.change(),
      }[key.length === 1 ? key.toLowerCase() : key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  }
}

/**
 * A form that asks the server for something: sending, stopping, errors, and what was typed kept.
 *
 * @module
 */
import { ApiFailure } from "./api.js";
import { find } from "./dom.js";
import { clearFaults, showFault } from "./faults.js";
import { draft, setDraft } from "./session.js";

/**
 * What a run gets.
 *
 * @typedef {object} Run
 * @property {AbortSignal} signal aborts when the person stops it
 * @property {(status: string) => void} say says how far it is
 * @property {HTMLElement} results where its results go
 */

/**
 * Makes a form work.
 *
 * @param {HTMLFormElement} form
 * @param {(run: Run) => Promise<string>} run what to do; returns what to say at the end
 */
export function setUpForm(form, run) {
  const [submit, stop] = [
    find("button[type=submit]", HTMLButtonElement, form),
    find("button.stop", HTMLButtonElement, form),
  ];
  const status = find(".status", HTMLElement, form);
  const results = find(".results", HTMLElement, form);
  const say = (/** @type {string} */ text) => status.textContent = text;
  /** @type {AbortController | undefined} */
  let running;

  /** @param {boolean} isBusy */
  const setBusy = (isBusy) => {
    const [from, to] = isBusy ? [submit, stop] : [stop, submit];
    const hadFocus = document.activeElement === from;
    to.hidden = false;
    from.hidden = true;
    if (hadFocus) to.focus();
    form.setAttribute("aria-busy", String(isBusy));
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running !== undefined) return;
    const controller = running = new AbortController();
    clearFaults(form);
    setBusy(true);
    say("Waiting for the model…");
    try {
      say(await run({ signal: controller.signal, say, results }));
    } catch (error) {
      say(controller.signal.aborted ? "Stopped" : "");
      if (!controller.signal.aborted) showFailure(form, error);
    } finally {
      running = undefined;
      setBusy(false);
    }
  });
  const cancel = () => running?.abort();
  stop.addEventListener("click", cancel);
  form.addEventListener("brachio:stop", cancel);
}

/**
 * @param {HTMLFormElement} form
 * @param {unknown} error
 */
function showFailure(form, error) {
  if (!(error instanceof ApiFailure)) {
    console.error(error);
    showFault(form, { message: `This page has a fault: ${error}`, param: null });
    return;
  }
  if (error.status === 401 || error.status === 403) {
    document.dispatchEvent(new CustomEvent("brachio:key", { detail: error.message }));
    return;
  }
  showFault(form, error);
}

/** @typedef {{ values: readonly import("./rows.js").RowValues[] }} Kept rows */

/**
 * Keeps what is typed into a form while the tab is open, and brings it back.
 *
 * @param {HTMLFormElement} form
 * @param {string} name
 * @param {Record<string, Kept>} [rows]
 */
export function keepDraft(form, name, rows = {}) {
  const kept = /** @type {any} */ (draft(name));
  for (const control of plainControls(form)) {
    const value = kept?.controls?.[control.name];
    if (typeof value === "boolean" && control instanceof HTMLInputElement) control.checked = value;
    if (typeof value === "string") control.value = value;
  }
  for (const [key, list] of Object.entries(rows)) {
    if (Array.isArray(kept?.rows?.[key])) list.values = kept.rows[key];
  }
  let timer = 0;
  const save = () => {
    const controls = plainControls(form).map((control) => {
      const isCheck = control instanceof HTMLInputElement && control.type === "checkbox";
      return [control.name, isCheck ? control.checked : control.value];
    });
    const lists = Object.entries(rows).map(([key, list]) => [key, list.values]);
    setDraft(name, { controls: Object.fromEntries(controls), rows: Object.fromEntries(lists) });
  };
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(save, 300);
  });
  addEventListener("pagehide", save);
}

/**
 * @param {HTMLFormElement} form
 * @returns {(HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement)[]} those outside rows
 */
function plainControls(form) {
  const kinds = [HTMLInputElement, HTMLTextAreaElement, HTMLSelectElement];
  return /** @type {HTMLInputElement[]} */ ([...form.elements].filter((control) => {
    return kinds.some((kind) => control instanceof kind) && !control.closest(".row");
  })).filter(({ name }) => name !== "");
}

/**
 * Reads the plain fields of a form by name.
 *
 * @param {HTMLFormElement} form
 * @returns {(name: string) => string}
 */
export function fieldsOf(form) {
  const data = new FormData(form);
  return (name) => String(data.get(name) ?? "");
}

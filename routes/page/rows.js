/**
 * Lists of rows that people add to and remove from: labels, examples, solved questions.
 *
 * @module
 */
import { find } from "./dom.js";

/** @typedef {Record<string, string>} RowValues by the control's key */

/** Rows made from a template. Enter adds one below, Backspace in an empty one removes it. */
export class Rows {
  #group;
  #list;
  #template;
  #onChange;

  /**
   * @param {HTMLElement} group with a `.list` and a button `.add`; its `data-of` names the parameter
   * @param {() => void} onChange
   */
  constructor(group, onChange) {
    this.#group = group;
    this.#onChange = onChange;
    this.#list = find(".list", HTMLElement, group);
    this.#template = find(`#row-${group.dataset.of}`, HTMLTemplateElement);
    find(".add", HTMLButtonElement, group).addEventListener("click", () => this.#focus(this.add()));
    this.#list.addEventListener("click", ({ target }) => {
      const button = target instanceof Element ? target.closest(".remove") : null;
      if (button) this.#remove(rowOf(button));
    });
    this.#list.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /** What is in the rows, without those in which nothing was typed. */
  get values() {
    return this.#rows().map(valuesOf).filter((values) => !isEmpty(values));
  }

  /** @param {readonly RowValues[]} all */
  set values(all) {
    this.#list.replaceChildren();
    for (const values of all) this.add(values);
  }

  /**
   * Names the parameter of each field as the request will have it: empty rows are left out there.
   */
  nameParams() {
    let index = 0;
    for (const row of this.#rows()) {
      const isLeftOut = isEmpty(valuesOf(row));
      const path = `${this.#group.dataset.of}.${index}`;
      for (const control of controlsOf(row)) {
        const { field } = control.dataset;
        if (isLeftOut) delete control.dataset.param;
        else control.dataset.param = field ? `${path}.${field}` : path;
      }
      if (!isLeftOut) index++;
    }
  }

  /**
   * @param {RowValues} [values]
   * @param {Element | null} [after] a row; without it, at the end
   * @returns {HTMLElement}
   */
  add(values = {}, after = null) {
    const made = this.#template.content.cloneNode(true);
    const row = find(".row", HTMLElement, /** @type {DocumentFragment} */ (made));
    for (const control of controlsOf(row)) control.value = values[keyOf(control)] ?? "";
    if (after) after.after(row);
    else this.#list.append(row);
    return row;
  }

  /** @param {HTMLElement} row */
  #focus(row) {
    controlsOf(row)[0]?.focus();
    this.#onChange();
  }

  /** @param {HTMLElement} row */
  #remove(row) {
    const next = row.previousElementSibling ?? row.nextElementSibling;
    row.remove();
    if (next instanceof HTMLElement) controlsOf(next).at(-1)?.focus();
    else find(".add", HTMLButtonElement, this.#group).focus();
    this.#onChange();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (!(target instanceof HTMLInputElement)) return;
    const row = rowOf(target);
    if (key === "Enter") {
      event.preventDefault(); // else it sends the form
      this.#focus(this.add({}, row));
    }
    if (key === "Backspace" && isEmpty(valuesOf(row))) {
      event.preventDefault();
      this.#remove(row);
    }
  }

  /** @returns {HTMLElement[]} */
  #rows() {
    return [...this.#list.querySelectorAll(".row")].filter((row) => row instanceof HTMLElement);
  }
}

/**
 * @param {Element} inside
 * @returns {HTMLElement}
 */
function rowOf(inside) {
  return /** @type {HTMLElement} */ (inside.closest(".row"));
}

/**
 * @param {Element} row
 * @returns {(HTMLInputElement | HTMLTextAreaElement)[]}
 */
function controlsOf(row) {
  return [...row.querySelectorAll("input, textarea")].filter((control) =>
    control instanceof HTMLInputElement || control instanceof HTMLTextAreaElement
  );
}

/**
 * @param {Element} row
 * @returns {RowValues}
 */
function valuesOf(row) {
  return Object.fromEntries(controlsOf(row).map((control) => [keyOf(control), control.value]));
}

/** @param {HTMLElement} control */
function keyOf(control) {
  return control.dataset.key ?? "";
}

/** @param {RowValues} values */
function isEmpty(values) {
  return Object.values(values).every((value) => value === "");
}

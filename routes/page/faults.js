/**
 * Errors where the person typed what is wrong.
 *
 * @module
 */
import { find, h, newId } from "./dom.js";
import { nearestParam } from "./values.js";

/**
 * Shows a message at the field that it is about and puts the cursor there; where no field is, above
 * the results of the form.
 *
 * @param {HTMLFormElement} form
 * @param {{ message: string, param: string | null }} fault
 */
export function showFault(form, { message, param }) {
  const field = param === null ? undefined : fieldOf(form, param);
  if (field === undefined) {
    const whole = find(".fault.whole", HTMLElement, form);
    whole.textContent = message;
    whole.hidden = false;
    return;
  }
  const text = h("p", { class: "fault", id: newId(), role: "alert" }, message);
  const control = controlOf(field);
  const place = field.closest(".field, .row, .check") ?? field;
  if (control !== undefined) {
    control.setAttribute("aria-invalid", "true");
    control.setAttribute("aria-describedby", text.id);
  }
  place.append(text);
  for (let around = place.closest("details"); around;) {
    around.open = true;
    around = around.parentElement?.closest("details") ?? null;
  }
  (control ?? field.querySelector("button"))?.focus();
}

/** @param {HTMLFormElement} form */
export function clearFaults(form) {
  for (const root of [form, find(".tools", HTMLElement)]) clearWithin(root);
  find(".fault.whole", HTMLElement, form).hidden = true;
}

/** @param {HTMLElement} root */
export function clearWithin(root) {
  for (const text of root.querySelectorAll(".fault:not(.whole)")) text.remove();
  for (const control of root.querySelectorAll("[aria-invalid]")) {
    control.removeAttribute("aria-invalid");
    control.removeAttribute("aria-describedby");
  }
}

/**
 * @param {HTMLFormElement} form
 * @param {string} param
 * @returns {HTMLElement | undefined}
 */
function fieldOf(form, param) {
  /** @type {Map<string, HTMLElement>} */
  const fields = new Map();
  for (const root of [form, find(".tools", HTMLElement)]) {
    for (const field of root.querySelectorAll("[data-param]")) {
      if (!(field instanceof HTMLElement) || field.closest("[hidden]")) continue;
      const name = field.dataset.param ?? "";
      if (!fields.has(name)) fields.set(name, field);
    }
  }
  const nearest = nearestParam(param, [...fields.keys()]);
  return nearest === undefined ? undefined : fields.get(nearest);
}

/**
 * @param {HTMLElement} field
 * @returns {HTMLElement | undefined} where one types; the first one of a group
 */
function controlOf(field) {
  if (field.matches("input, select, textarea")) return field;
  return field.querySelector("input, select, textarea") instanceof HTMLElement
    ? /** @type {HTMLElement} */ (field.querySelector("input, select, textarea"))
    : undefined;
}

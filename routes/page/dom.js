/**
 * Making and finding elements.
 *
 * @module
 */

/** @typedef {Node | string | undefined | false} Child */

/**
 * Makes an element. Properties that begin with "aria" or "data", and `role`, are attributes; `class`
 * is the class; others are set as they are.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, unknown>} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    const isAttribute = /^(aria|data)-|^(role|class|for|scope)$/.test(name);
    if (isAttribute) element.setAttribute(name, String(value));
    else Object.assign(element, { [name]: value });
  }
  element.append(...children.filter((child) => child !== undefined && child !== false));
  return element;
}

/**
 * The element that a selector finds.
 *
 * @template {Element} T
 * @param {string} selector
 * @param {abstract new (...args: never) => T} kind
 * @param {ParentNode} [root]
 * @returns {T}
 * @throws {TypeError} When there is none of that kind.
 */
export function find(selector, kind, root = document) {
  const found = root.querySelector(selector);
  if (found instanceof kind) return found;
  throw new TypeError(`Cannot find ${selector}: want a ${kind.name}: got ${found}`);
}

let lastId = 0;

/**
 * An id that no other element has.
 *
 * @returns {string}
 */
export function newId() {
  return `id-${++lastId}`;
}

/**
 * Puts a text on the clipboard, and says so on the button for a moment.
 *
 * @param {HTMLButtonElement} button
 * @param {string} text
 */
export async function copy(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Cannot copy here";
  }
  setTimeout(() => button.textContent = label, 1500);
}

/**
 * A bar whose length is a share. The number stands beside it, so it is hidden from screen readers.
 *
 * @param {number} share from 0 to 1
 * @returns {HTMLElement}
 */
export function bar(share) {
  const fill = h("span");
  fill.style.width = `${(100 * share).toFixed(2)}%`;
  return h("div", { class: "bar", "aria-hidden": "true" }, fill);
}

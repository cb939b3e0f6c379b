/**
 * What is kept while the tab is open: the API key, and what was typed.
 *
 * @module
 */

const KEY = "brachio.key";

/**
 * The API key, "" where none was entered.
 *
 * @returns {string}
 */
export function apiKey() {
  return read(KEY) ?? "";
}

/** @param {string} key "" forgets it */
export function setApiKey(key) {
  write(KEY, key === "" ? undefined : key);
}

/**
 * What was kept under a name.
 *
 * @param {string} name
 * @returns {unknown} undefined where there is nothing
 */
export function draft(name) {
  try {
    return JSON.parse(read(`brachio.draft.${name}`) ?? "null") ?? undefined;
  } catch {
    return undefined;
  }
}

/**
 * @param {string} name
 * @param {unknown} value
 */
export function setDraft(name, value) {
  write(`brachio.draft.${name}`, JSON.stringify(value));
}

/** @param {string} name */
function read(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null; // a browser may forbid it
  }
}

/**
 * @param {string} name
 * @param {string | undefined} value
 */
function write(name, value) {
  try {
    if (value === undefined) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, value);
  } catch {
    // it then lasts as long as the page
  }
}

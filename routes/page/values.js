/**
 * From what people type to what the API takes, and from its errors back to the field.
 *
 * @module
 */

/**
 * A number; undefined where nothing was typed. What is no number goes to the API as it is, which
 * says what it wants.
 *
 * @param {string} text
 * @returns {number | string | undefined}
 */
export function numberOf(text) {
  const trimmed = text.trim();
  if (trimmed === "") return undefined;
  const value = Number(trimmed);
  return Number.isFinite(value) ? value : trimmed;
}

/**
 * A text; undefined where nothing was typed.
 *
 * @param {string} text
 * @returns {string | undefined}
 */
export function textOf(text) {
  return text === "" ? undefined : text;
}

/**
 * The texts of a field that has one a line; \n and \t stand for what they do in programs.
 *
 * @param {string} text
 * @returns {string[] | undefined} undefined where there are none
 */
export function linesOf(text) {
  const lines = text.split("\n").filter((line) => line !== "").map(unescapeText);
  return lines.length === 0 ? undefined : lines;
}

/**
 * A text in which \n, \t and \\ stand for what they do in programs.
 *
 * @param {string} text
 * @returns {string}
 */
export function unescapeText(text) {
  return text.replaceAll(
    /\\([nt\\])/g,
    (_, letter) => letter === "n" ? "\n" : letter === "t" ? "\t" : "\\",
  );
}

/**
 * The object without what was not typed: undefined values, and objects of which nothing is left.
 *
 * @param {Record<string, unknown>} body
 * @returns {Record<string, unknown>}
 */
export function compact(body) {
  /** @type {Record<string, unknown>} */
  const left = {};
  for (const [key, value] of Object.entries(body)) {
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    const kept = isObject ? compact(/** @type {Record<string, unknown>} */ (value)) : value;
    if (
      kept === undefined || (isObject && Object.keys(/** @type {object} */ (kept)).length === 0)
    ) {
      continue;
    }
    left[key] = kept;
  }
  return left;
}

/**
 * The parameter among `known` that an error's `param` is about: itself, else the nearest one around
 * it, else the first one within it.
 *
 * @param {string} param "examples.2.output"
 * @param {readonly string[]} known
 * @returns {string | undefined}
 */
export function nearestParam(param, known) {
  for (let path = param; path !== ""; path = path.slice(0, Math.max(0, path.lastIndexOf(".")))) {
    if (known.includes(path)) return path;
  }
  return known.find((path) => path.startsWith(`${param}.`));
}

/**
 * What the API says is wrong, whatever it answered.
 *
 * @param {unknown} body
 * @param {number} status
 * @returns {{ message: string, param: string | null, code: string | null }}
 */
export function faultOf(body, status) {
  const error = typeof body === "object" && body !== null && "error" in body
    ? body.error
    : undefined;
  if (typeof error === "object" && error !== null && "message" in error) {
    const { message, param = null, code = null } =
      /** @type {{ message: string, param?: string | null, code?: string | null }} */ (error);
    return { message, param, code };
  }
  return { message: `The server answered with status ${status}`, param: null, code: null };
}

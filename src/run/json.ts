/**
 * What `JSON.parse` does not say about a text.
 *
 * @module
 */

/**
 * The first key that an object of the text has twice, or undefined. `JSON.parse` would keep the
 * last one in silence.
 *
 * @param text Valid JSON: `JSON.parse` has taken it.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { duplicateKey } from "./json.ts";
 *
 * assertEquals(duplicateKey('{"a": 1, "b": {"a": 2}}'), undefined);
 * assertEquals(duplicateKey('{"a": 1, "\\u0061": 2}'), "a");
 * ```
 */
export function duplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // keys of each object around; none for an array
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === "{") open.push(new Set());
    else if (char === "[") open.push(undefined);
    else if (char === "}" || char === "]") open.pop();
    else if (char === '"') {
      const start = i;
      for (i++; text[i] !== '"'; i++) if (text[i] === "\\") i++;
      let next = i + 1;
      while (/\s/.test(text.charAt(next))) next++;
      const keys = open.at(-1);
      if (keys === undefined || text[next] !== ":") continue; // a value, not a key
      const key = JSON.parse(text.slice(start, i + 1)) as string;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}

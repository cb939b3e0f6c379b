/**
 * HTML that is safe to put values into, and the style of the pages that are made of it.
 *
 * @module
 */

/** Text that is HTML already. */
export class Markup {
  /** As it is put into a page. */
  readonly text: string;
  /** Of text that is safe. */
  constructor(text: string) {
    this.text = text;
  }
}

/** What can stand in {@linkcode markup}. */
export type Part = string | number | false | Markup | readonly Part[];

/**
 * HTML in which every value is escaped unless it is {@linkcode Markup}; false is nothing.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals(markup`<b>${"a < b"}</b>${false}`.text, "<b>a &#60; b</b>");
 * ```
 */
export function markup(strings: TemplateStringsArray, ...parts: Part[]): Markup {
  const texts = parts.map((part, i) => textOf(part) + strings[i + 1]!);
  return new Markup(strings[0]! + texts.join(""));
}

function textOf(part: Part): string {
  if (part === false) return "";
  if (part instanceof Markup) return part.text;
  if (typeof part === "object") return part.map(textOf).join("");
  return String(part).replaceAll(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** Style of a page, for light and dark. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; background: #ffffff; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.8rem 0.2rem 0; border-bottom: 1px solid #8886; text-align: right; }
.pairs th, .pairs td { text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 600; }
pre { white-space: pre-wrap; border: 1px solid #8886; padding: 0.8rem; }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117; } }
`;

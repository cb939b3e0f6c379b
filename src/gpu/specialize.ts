/**
 * The shader specialiser: turns a `.wgsl` file, valid as it stands, into the text a pipeline is
 * compiled from. It knows three things and no more:
 *
 * - `// @include "name.wgsl"` on a line of its own is replaced by that file's text;
 * - `const NAME: u32 = 8u;` at the top level takes another value (register tile sizes);
 * - a `for` loop below a line `// @unroll` is written out, its counter replaced by literals, because
 *   naga keeps loop counters and bounds checks, and an array indexed by a counter never reaches
 *   registers.
 *
 * Line numbers survive: copies and includes are flattened onto one line, so the compiler's line is
 * the file's line.
 *
 * @module
 */

/** What {@linkcode specialize} may change in a shader. */
export interface SpecializeOptions {
  /** New values of top-level `const NAME: u32` declarations. */
  tune?: Readonly<Record<string, number>>;
  /** Text of each file named by an `@include`. */
  includes?: Readonly<Record<string, string>>;
}

/**
 * Expands includes, constants and unrolled loops of WGSL source.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const source = "const N: u32 = 4u;\n// @unroll\nfor (var i = 0u; i < N; i++) { s += a[i]; }";
 * const text = specialize(source, { tune: { N: 2 } });
 * assertEquals(text.includes("{ s += a[0u]; } { s += a[1u]; }"), true);
 * ```
 *
 * @throws {RangeError} When a tuned constant does not exist or is no unsigned integer, an include
 * is missing, or a loop marked `@unroll` has a bound that is not constant.
 */
export function specialize(source: string, options: SpecializeOptions = {}): string {
  const { tune = {}, includes = {} } = options;
  let text = source.replace(/^[ \t]*\/\/ @include "([^"]+)"[ \t]*$/gm, (_, name: string) => {
    const included = includes[name];
    if (included === undefined) {
      const known = Object.keys(includes).join(", ") || "none";
      throw new RangeError(`Cannot include "${name}": a text given for it: got ${known}`);
    }
    return flatten(included);
  });
  for (const [name, value] of Object.entries(tune)) {
    if (!Number.isInteger(value) || value < 0) {
      throw new RangeError(`Cannot tune "${name}": an unsigned integer: got ${value}`);
    }
    const declaration = new RegExp(`^(const ${name}\\s*(?::\\s*u32)?\\s*=\\s*)[^;]+;`, "m");
    if (!declaration.test(text)) {
      throw new RangeError(`Cannot tune "${name}": a top-level "const ${name}: u32 = …;": none`);
    }
    text = text.replace(declaration, `$1${value}u;`);
  }
  return unroll(text, constants(text));
}

/** The top-level unsigned constants of a shader, by name; those that are not whole are left out. */
export function constants(source: string): Record<string, number> {
  const table: Record<string, number> = {};
  for (const match of source.matchAll(/^const (\w+)\s*(?::\s*u32)?\s*=\s*([^;]+);/gm)) {
    const value = evaluate(match[2]!, table);
    if (value !== undefined) table[match[1]!] = value;
  }
  return table;
}

/** Value of an integer expression over `+ - * / % ( )`, literals and known names, or undefined. */
export function evaluate(
  expression: string,
  names: Readonly<Record<string, number>>,
): number | undefined {
  const tokens = expression.match(/\d+u?|[A-Za-z_]\w*|[-+*/%()]|\S/g) ?? [];
  let at = 0;
  const primary = (): number => {
    const token = tokens[at++] ?? "";
    if (token === "(") {
      const inner = sum();
      return tokens[at++] === ")" ? inner : NaN;
    }
    if (/^\d+u?$/.test(token)) return parseInt(token);
    return names[token] ?? NaN;
  };
  const product = (): number => {
    let left = primary();
    while (tokens[at] === "*" || tokens[at] === "/" || tokens[at] === "%") {
      const operator = tokens[at++];
      const right = primary();
      left = operator === "*"
        ? left * right
        : operator === "/"
        ? Math.trunc(left / right)
        : left % right;
    }
    return left;
  };
  const sum = (): number => {
    let left = product();
    while (tokens[at] === "+" || tokens[at] === "-") {
      left = tokens[at++] === "+" ? left + product() : left - product();
    }
    return left;
  };
  const value = sum();
  return at === tokens.length && Number.isFinite(value) ? value : undefined;
}

const LOOP =
  /^\/\/ @unroll[^\n]*\n\s*for \(var (\w+)(?:\s*:\s*u32)? = ([^;]+); \1 < ([^;]+); \1(?:\+\+| \+= ([^)]+))\) \{/;

/** Writes out the marked loops, innermost first, so that every copy of a body is plain text. */
function unroll(text: string, names: Readonly<Record<string, number>>): string {
  for (;;) {
    const mark = text.lastIndexOf("// @unroll");
    if (mark < 0) return text;
    const line = text.slice(0, mark).split("\n").length;
    const match = LOOP.exec(text.slice(mark));
    if (!match) {
      throw new RangeError(
        `Cannot unroll line ${line}: "for (var i = 0u; i < BOUND; i++) {" below the mark`,
      );
    }
    const [head, counter, from, to, by = "1u"] = match;
    const [first, bound, stride] = [from!, to!, by].map((expression) => {
      const value = evaluate(expression, names);
      if (value !== undefined) return value;
      throw new RangeError(
        `Cannot unroll line ${line}: bounds known when loading: got "${expression}"`,
      );
    }) as [number, number, number];
    const open = mark + head.length - 1;
    const close = closingBrace(text, open);
    const body = text.slice(open + 1, close);
    const use = new RegExp(`(?<![.\\w])${counter}(?!\\w)`, "g");
    const copies: string[] = [];
    for (let i = first; i < bound; i += stride) {
      const copy = body.replace(use, `${i}u`);
      // The first copy keeps its lines, so that the compiler's line numbers are the file's.
      copies.push(`{${copies.length === 0 ? copy : flatten(copy)}}`);
    }
    const lines = (part: string) => "\n".repeat(part.split("\n").length - 1);
    text = text.slice(0, mark) + lines(head) +
      (copies.length === 0 ? lines(body) : copies.join(" ")) + text.slice(close + 1);
  }
}

function closingBrace(text: string, open: number): number {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if (text.startsWith("//", at)) at = text.indexOf("\n", at);
    if (at < 0) break;
    if (text[at] === "{") depth++;
    else if (text[at] === "}" && --depth === 0) return at;
  }
  throw new RangeError("Cannot unroll: a closing brace: the file ended");
}

/** One line, without comments. */
function flatten(text: string): string {
  return text.replace(/\/\/[^\n]*/g, "").replace(/\s*\n\s*/g, " ");
}

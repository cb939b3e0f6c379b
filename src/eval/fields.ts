/**
 * Texts from the fields of a row: Jinja templates that refuse fields which are not there.
 *
 * @module
 */
import { Template } from "@huggingface/jinja";
import { CannotError } from "../config/cannot.ts";

/** A row's fields by name. */
export type Fields = Readonly<Record<string, unknown>>;

/** Functions and values that Jinja brings itself. */
const BUILT_IN = new Set(["range", "namespace", "loop", "true", "false", "none", "null", "True"]);
for (const name of ["False", "None", "raise_exception", "strftime_now"]) BUILT_IN.add(name);

/**
 * A template over fields.
 *
 * @example
 * ```ts
 * import { FieldTemplate } from "./fields.ts";
 * const template = new FieldTemplate("{{answer.split('#### ')[1]}}", "output");
 * console.assert(template.render({ answer: "1 + 1 = 2\n#### 2" }, "line 1") === "2");
 * ```
 */
export class FieldTemplate {
  readonly #source: string;
  readonly #name: string;
  readonly #template: Template;
  readonly #fields: readonly string[];

  /** From its source. @throws {CannotError} When that is no Jinja. */
  constructor(source: string, name: string) {
    this.#source = source;
    this.#name = name;
    try {
      this.#template = new Template(source);
    } catch (cause) {
      const state = cause instanceof Error ? cause.message : String(cause);
      throw new CannotError(`use "${name}" (${shown(source)})`, "want Jinja", state, { cause });
    }
    const named = new Set<string>();
    collect(this.#template.parsed, named, new Set(BUILT_IN));
    this.#fields = [...named];
  }

  /**
   * The text for a row.
   *
   * @param where the row's file and line
   * @throws {CannotError} When a field is missing, or Jinja cannot do what it should.
   */
  render(row: Fields, where: string): string {
    const act = `read "${this.#name}" from ${where}`;
    const missing = this.#fields.find((field) => row[field] === undefined || row[field] === null);
    if (missing !== undefined) {
      const known = Object.keys(row).map((name) => `"${name}"`).join(", ");
      throw new CannotError(act, `want a field "${missing}"`, `there is only ${known || "none"}`);
    }
    try {
      return this.#template.render({ ...row });
    } catch (cause) {
      const state = cause instanceof Error ? cause.message : String(cause);
      const want = `want fields that ${shown(this.#source)} can use`;
      throw new CannotError(act, want, state, { cause });
    }
  }

  /** A list of texts: the template gives a JSON array, as Jinja writes lists. */
  renderList(row: Fields, where: string): string[] {
    const text = this.render(row, where);
    const act = `read "${this.#name}" from ${where}`;
    const want = "want a list of texts";
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new CannotError(act, want, `got ${shown(text)}`, { cause });
    }
    const isList = Array.isArray(value) && value.length > 0 &&
      value.every((part) => ["string", "number"].includes(typeof part));
    if (!isList) throw new CannotError(act, want, `got ${shown(text)}`);
    return (value as unknown[]).map(String);
  }
}

/** The names that a program reads and does not set itself. */
function collect(node: unknown, named: Set<string>, bound: Set<string>): void {
  if (Array.isArray(node)) {
    for (const part of node) collect(part, named, bound);
    return;
  }
  if (typeof node !== "object" || node === null) return;
  const { type, ...parts } = node as Record<string, unknown> & { type?: string };
  if (type === "Identifier") {
    if (!bound.has(String(parts.value))) named.add(String(parts.value));
    return;
  }
  if (type === "MemberExpression" && parts.computed === false) {
    return collect(parts.object, named, bound);
  }
  if (type === "FilterExpression" || type === "TestExpression") {
    // What filters and tests are called is no field; their arguments may be.
    const inner = parts.filter ?? parts.test;
    collect(parts.operand, named, bound);
    if ((inner as { type?: string })?.type === "CallExpression") {
      collect((inner as { args?: unknown }).args, named, bound);
    }
    return;
  }
  if (type === "KeywordArgumentExpression") return collect(parts.value, named, bound);
  if (type === "For") {
    collect(parts.iterable, named, bound);
    const inside = new Set([...bound, ...namesIn(parts.loopvar)]);
    collect(parts.body, named, inside);
    return collect(parts.defaultBlock, named, bound);
  }
  if (type === "Set") {
    collect(parts.value, named, bound);
    for (const name of namesIn(parts.assignee)) bound.add(name);
    return collect(parts.body, named, bound);
  }
  for (const part of Object.values(parts)) collect(part, named, bound);
}

function namesIn(node: unknown): string[] {
  const names = new Set<string>();
  collect(node, names, new Set());
  return [...names];
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

/**
 * Configuration: a JSONC file, then flags on top, against a zod schema.
 *
 * @module
 */

import {
  getNodeValue,
  type Node,
  type ParseError,
  parseTree,
  printParseErrorCode,
} from "jsonc-parser";
import * as z from "zod";
import { CannotError, orCannot } from "./cannot.ts";
import { stateOf, suggestion, wantOf } from "./describe.ts";

/** Where the values come from; each overlays those before it. */
export interface ConfigSources {
  /** A preset. */
  base?: Readonly<Record<string, unknown>> | undefined;
  /** Path of a JSON file, in which comments and trailing commas may be. */
  file?: string | undefined;
  /** `a.b=c`: JSON where it is JSON, text otherwise. */
  set?: readonly string[] | undefined;
}

/**
 * The configuration of a stage, with its defaults filled in. Objects are overlaid key by key, all
 * else is replaced. The schema's objects should be strict, so that a misspelt key is an error.
 *
 * @throws {CannotError} with a line for each value that is wrong: path, want and state
 */
export async function loadConfig<S extends z.ZodType>(
  schema: S,
  sources: ConfigSources = {},
): Promise<z.output<S>> {
  const { base = {}, file, set = [] } = sources;
  const root = file === undefined ? undefined : await parseFile(file);
  const settings = set.map(parseSetting);
  let value: unknown = overlay(base, root === undefined ? {} : getNodeValue(root));
  for (const { path, json } of settings) value = overlay(value, nest(path, json));

  let result = schema.safeParse(value);
  if (!result.success) {
    // What looks like JSON may be meant as text: --set name=7 where a name is wanted.
    const wantText = settings.filter(({ path, json, text }) =>
      json !== text &&
      result.error!.issues.some((issue) =>
        issue.code === "invalid_type" && issue.expected === "string" && same(issue.path, path)
      )
    );
    for (const { path, text } of wantText) value = overlay(value, nest(path, text));
    if (wantText.length > 0) result = schema.safeParse(value);
  }
  if (result.success) return result.data;
  const errors = result.error.issues.flatMap((issue) => {
    const keys = issue.code === "unrecognized_keys" ? issue.keys : [undefined];
    return keys.map((key) => {
      const path = key === undefined ? issue.path : [...issue.path, key];
      const act = `use ${originOf(path, settings, file, root)}`;
      if (key === undefined) {
        const want = `want ${wantOf(issue)} in ${show(path)}`;
        return new CannotError(act, want, stateOf(valueAt(value, path)));
      }
      const where = issue.path.length > 0 ? ` in ${show(issue.path)}` : "";
      const state = `there is no "${key}"${suggestion(schema, issue.path, key)}`;
      return new CannotError(act, `want known keys${where}`, state);
    });
  });
  throw CannotError.all(errors as [CannotError, ...CannotError[]]);
}

/** What brought the value at a path: the last flag that did, the file, or neither. */
function originOf(
  path: readonly PropertyKey[],
  settings: readonly Setting[],
  file?: string,
  root?: Root,
): string {
  const setting = settings.findLast((setting) =>
    path.length > 0 && (startsWith(setting.path, path) || startsWith(path, setting.path))
  );
  if (setting !== undefined) return `--set ${setting.argument}`;
  if (root === undefined || path.length === 0) return file ?? "the configuration";
  return nodeAt(root, path) ? `${file}, line ${lineOf(root, path)}` : "the configuration";
}

interface Setting {
  argument: string;
  path: string[];
  text: string;
  json: unknown; // the text itself where it is no JSON
}

function parseSetting(argument: string): Setting {
  const equals = argument.indexOf("=");
  const path = argument.slice(0, Math.max(0, equals)).trim().split(".");
  if (path.some((key) => key === "")) {
    throw new CannotError("use --set", "want a.b=c", `got ${JSON.stringify(argument)}`);
  }
  const text = argument.slice(equals + 1);
  let json: unknown = text;
  try {
    json = JSON.parse(text);
  } catch {
    // text then
  }
  return { argument, path, text, json };
}

/** The tree of a JSONC file, whose nodes know where they are. */
type Root = Node & { text: string };

async function parseFile(file: string): Promise<Root> {
  const act = `read ${file}`;
  const text = await orCannot(act, "want a readable file", () => Deno.readTextFile(file));
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true });
  const [error] = errors;
  if (error !== undefined) {
    const words = printParseErrorCode(error.error).replaceAll(/(?<=[a-z])(?=[A-Z])/g, " ");
    throw new CannotError(act, "want JSON", `${words.toLowerCase()} in ${place(text, error)}`);
  }
  if (root?.type !== "object") throw new CannotError(act, "want an object", "it has none");
  checkKeysOnce(root, text, act);
  return Object.assign(root, { text });
}

function checkKeysOnce(node: Node, text: string, act: string): void {
  const seen = new Set<unknown>();
  for (const child of node.children ?? []) {
    if (child.type === "property") {
      const key = child.children![0]!;
      if (seen.has(key.value)) {
        throw new CannotError(
          act,
          "want each key once",
          `"${key.value}" again in ${place(text, key)}`,
        );
      }
      seen.add(key.value);
    }
    checkKeysOnce(child, text, act);
  }
}

function place(text: string, { offset }: { offset: number }): string {
  const before = text.slice(0, offset).split("\n");
  return `line ${before.length}, column ${before.at(-1)!.length + 1}`;
}

function nodeAt(root: Node, path: readonly PropertyKey[]): Node | undefined {
  let node: Node | undefined = root;
  for (const key of path) {
    node = node?.type === "array"
      ? node.children?.[Number(key)]
      : node?.children?.find((child) => child.children?.[0]?.value === key)?.children?.[1];
  }
  return node;
}

function lineOf(root: Root, path: readonly PropertyKey[]): number {
  return root.text.slice(0, nodeAt(root, path)!.offset).split("\n").length;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function overlay(below: unknown, above: unknown): unknown {
  if (!isObject(below) || !isObject(above)) return above;
  const merged = new Map(Object.entries(below));
  for (const [key, value] of Object.entries(above)) {
    merged.set(key, merged.has(key) ? overlay(merged.get(key), value) : value);
  }
  return Object.fromEntries(merged);
}

function nest(path: readonly string[], value: unknown): unknown {
  return path.reduceRight((inner, key) => ({ [key]: inner }), value);
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return at;
}

function same(a: readonly PropertyKey[], b: readonly PropertyKey[]): boolean {
  return a.length === b.length && startsWith(a, b);
}

function startsWith(path: readonly PropertyKey[], start: readonly PropertyKey[]): boolean {
  return start.every((key, i) => i < path.length && String(path[i]) === String(key));
}

function show(path: readonly PropertyKey[]): string {
  return path.length === 0 ? "the configuration" : `"${path.map(String).join(".")}"`;
}

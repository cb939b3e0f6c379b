/**
 * From what the user names (files, folders, patterns) to a list of files, in an order that is the
 * same on every machine.
 *
 * @module
 */

import { join } from "node:path";
import { CannotError, orCannot } from "../config/cannot.ts";

/** How a file's text is divided into documents. */
export type Format = "text" | "jsonl";

/** A file to read. */
export interface Source {
  /** As the user would write it. */
  readonly path: string;
  /** `text`: the file is one document; `jsonl`: each line is one. */
  readonly format: Format;
  /** Whether it is packed with gzip. */
  readonly isGzip: boolean;
  /** As it lies on the disk. */
  readonly sizeBytes: number;
}

/** Options of {@linkcode findSources}. */
export interface SourceOptions {
  /**
   * How documents are told apart.
   *
   * @default by the name: .jsonl and .ndjson are JSONL, all others text
   */
  format?: Format | undefined;
}

const IN_FOLDERS = /\.(txt|text|md|jsonl|ndjson)(\.gz)?$/i;

/**
 * Files, folders (their .txt, .text, .md, .jsonl and .ndjson files, with or without .gz, at any
 * depth) and patterns with `*`, `**`, `?`, `[abc]` and `{a,b}`. Hidden files are passed over.
 *
 * @throws {CannotError} when something is missing, cannot be read or is empty, or nothing is found
 */
export async function findSources(
  inputs: readonly string[],
  options: SourceOptions = {},
): Promise<Source[]> {
  const sources: Source[] = [];
  for (const input of inputs) {
    const act = `read data "${input}"`;
    const stat = await statOf(input, act);
    let paths: string[];
    if (stat?.isFile) paths = [input];
    else if (stat?.isDirectory) paths = await filesBelow(input, IN_FOLDERS, act);
    else if (stat !== undefined) {
      throw new CannotError(act, "want a file, a folder or a pattern", "it is something else");
    } else if (isPattern(input)) {
      const { folder, expression } = compilePattern(input);
      paths = await statOf(folder, act) ? await filesBelow(folder, expression, act) : [];
    } else {
      throw new CannotError(act, "want a file, a folder or a pattern", "there is none");
    }
    if (paths.length === 0) {
      const what = stat
        ? "a .txt, .text, .md, .jsonl or .ndjson file in it"
        : "a file that matches";
      throw new CannotError(act, `want ${what}`, "there is none");
    }
    for (const path of paths) sources.push(await sourceOf(path, options.format));
  }
  if (sources.length > 0) return sources;
  throw new CannotError("read data", "want a file, a folder or a pattern", "none was given");
}

async function sourceOf(path: string, format?: Format): Promise<Source> {
  const { size: sizeBytes } = await orCannot(
    `read ${path}`,
    "want a readable file",
    () => Deno.stat(path),
  );
  if (sizeBytes === 0) throw new CannotError(`read ${path}`, "want text", "the file is empty");
  const isGzip = /\.gz$/i.test(path);
  const isLines = /\.(jsonl|ndjson)(\.gz)?$/i.test(path);
  return { path, format: format ?? (isLines ? "jsonl" : "text"), isGzip, sizeBytes };
}

async function statOf(path: string, act: string): Promise<Deno.FileInfo | undefined> {
  return await orCannot(act, "want a readable file or folder", async () => {
    try {
      return await Deno.stat(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  });
}

/**
 * Files below a folder whose path matches, sorted by code units. Linked folders are not entered.
 */
async function filesBelow(folder: string, expression: RegExp, act: string): Promise<string[]> {
  const paths: string[] = [];
  const visit = async (at: string): Promise<void> => {
    const entries = await orCannot(act, `want a readable folder ${at}`, async () => {
      return await Array.fromAsync(Deno.readDir(at));
    });
    for (const entry of entries) {
      if (entry.name.startsWith(".")) continue;
      const path = join(at, entry.name);
      if (entry.isDirectory) await visit(path);
      else if (expression.test(path) && (entry.isFile || (await statOf(path, act))?.isFile)) {
        paths.push(path);
      }
    }
  };
  await visit(folder);
  return paths.sort();
}

/** Whether a name has characters with a meaning in patterns. */
export function isPattern(text: string): boolean {
  return /[*?[{]/.test(text);
}

/**
 * The folder to search, and what the paths below it must match.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { compilePattern } from "./sources.ts";
 *
 * const { folder, expression } = compilePattern("books/*.{txt,md}");
 * assertEquals([folder, expression.test("books/a.md")], ["books", true]);
 * ```
 */
export function compilePattern(pattern: string): { folder: string; expression: RegExp } {
  const parts = join(pattern).replaceAll("\\", "/").split("/");
  const fixed = parts.slice(0, parts.findIndex(isPattern));
  const folder = fixed.length === 0 ? "." : fixed.join("/") || "/";
  let source = "";
  parts.forEach((part, i) => {
    const isLast = i === parts.length - 1;
    if (part === "**") source += isLast ? ".*" : "(?:[^/]+/)*";
    else source += partSource(part, pattern) + (isLast ? "" : "/");
  });
  return { folder, expression: new RegExp(`^${source}$`) };
}

function partSource(part: string, pattern: string): string {
  let source = "";
  let depth = 0;
  for (let i = 0; i < part.length; i++) {
    const char = part[i]!;
    if (char === "*") source += "[^/]*";
    else if (char === "?") source += "[^/]";
    else if (char === "{" && ++depth) source += "(?:";
    else if (char === "}" && depth > 0 && depth--) source += ")";
    else if (char === "," && depth > 0) source += "|";
    else if (char === "[" && part.indexOf("]", i + 2) > 0) {
      const end = part.indexOf("]", i + 2);
      const isNot = part[i + 1] === "!" || part[i + 1] === "^";
      const members = part.slice(i + (isNot ? 2 : 1), end).replaceAll(/[\\[\]^]/g, "\\$&");
      source += `[${isNot ? "^/" : ""}${members}]`;
      i = end;
    } else source += RegExp.escape(char);
  }
  if (depth === 0) return source;
  throw new CannotError(`read data "${pattern}"`, "want a } for every {", "one is missing");
}

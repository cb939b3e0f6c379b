/**
 * Rows of JSON: one object a line, or one array of objects, row by row with their lines.
 *
 * @module
 */
import { getNodeValue, type ParseError, parseTree, printParseErrorCode } from "jsonc-parser";
import { CannotError } from "../config/cannot.ts";
import type { ChatMessage } from "../prompt/chat_template.ts";
import { faultError, parseTable, type RowFault, type TableRow } from "./tables.ts";
import { decodeUtf8, readBytes } from "./text.ts";

/** A row that has values. */
export type GoodRow = Extract<TableRow, { values: unknown }>;

/** What a file held. */
export interface Rows<T> {
  /** In the order of the file. */
  readonly examples: readonly T[];
  /** Rows that were left out. */
  readonly bad: readonly RowFault[];
}

/** How bad rows are met. */
export interface ReadRowsOptions {
  /** Leaves bad rows out and lists them, instead of refusing the file. @default false */
  skipBad?: boolean;
}

/** Thrown by who reads a row, where something is wrong with it. */
export class RowError extends Error {
  /** With what is wrong. */
  constructor(readonly fault: RowFault) {
    super(fault.state);
  }
}

/**
 * Reads a file row by row; gzip by its name.
 *
 * @param of makes an example of a row, or throws a {@linkcode RowError}
 * @throws {CannotError} On the first bad row, with its file, line and column, unless bad rows are
 * skipped; and when the file cannot be read or no example is left.
 */
export async function readRows<T>(
  path: string,
  of: (row: GoodRow) => T,
  options: ReadRowsOptions = {},
): Promise<Rows<T>> {
  const bytes = readBytes(path, { isGzip: path.endsWith(".gz") });
  const chunks = await Array.fromAsync(decodeUtf8(bytes, path));
  return rowsOf(chunks.join(""), path, of, options);
}

/** As {@linkcode readRows}, of a text. */
export function rowsOf<T>(
  text: string,
  path: string,
  of: (row: GoodRow) => T,
  { skipBad = false }: ReadRowsOptions = {},
): Rows<T> {
  const rows = text.trimStart().startsWith("[")
    ? arrayRows(text, path)
    : parseTable(text, "jsonl", { label: path });
  const examples: T[] = [];
  const bad: RowFault[] = [];
  for (const row of rows) {
    try {
      if ("fault" in row) throw new RowError(row.fault);
      examples.push(of(row));
    } catch (error) {
      if (!(error instanceof RowError)) throw error;
      bad.push(error.fault);
    }
  }
  if (bad.length > 0 && !skipBad) throw refusal(path, bad);
  if (examples.length > 0) return { examples, bad };
  const state = bad.length === 0 ? "there is none" : `all of its ${bad.length} rows are bad`;
  throw new CannotError(`read ${path}`, "want rows", state);
}

/** The first bad row, and how many more there are. */
export function refusal(path: string, bad: readonly RowFault[]): Error {
  const error = faultError(path, bad[0]!);
  const more = bad.length === 1 ? "" : ` (and ${bad.length - 1} more bad rows)`;
  error.message += `${more}; --skip-bad leaves such rows out`;
  return error;
}

function arrayRows(text: string, path: string): TableRow[] {
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { disallowComments: true });
  const lineOf = lineCounter(text);
  const [failure] = errors;
  if (failure || root?.type !== "array") {
    // What follows the first fault cannot be relied on.
    const line = lineOf(failure?.offset ?? 0);
    const state = failure ? printParseErrorCode(failure.error) : "it is none";
    throw new CannotError(`read ${path}, line ${line}`, "want a JSON array", state);
  }
  return (root.children ?? []).map((node): TableRow => {
    const line = lineOf(node.offset);
    if (node.type === "object") return { line, values: getNodeValue(node) };
    const state = `got ${text.slice(node.offset, node.offset + Math.min(node.length, 60))}`;
    return { line, fault: { line, want: "want a JSON object", state } };
  });
}

/** Line of an offset, from 1; offsets must ascend. */
function lineCounter(text: string): (offset: number) => number {
  let [line, at] = [1, 0];
  return (offset) => {
    for (let next = text.indexOf("\n", at); next >= 0 && next < offset;) {
      line++;
      at = next + 1;
      next = text.indexOf("\n", at);
    }
    return line;
  };
}

/** Whether a row has all of some columns. */
export function has({ values }: GoodRow, ...columns: readonly string[]): boolean {
  return columns.every((column) => values[column] !== undefined && values[column] !== null);
}

/**
 * A column's text.
 *
 * @param options `mayBeEmpty`: an empty text, or none, is one too
 * @throws {RowError} When it is no text, or empty.
 */
export function textOf(
  { line, values }: GoodRow,
  column: string,
  { mayBeEmpty = false } = {},
): string {
  const value = values[column];
  if (mayBeEmpty && (value === undefined || value === null)) return "";
  if (typeof value !== "string") {
    const state = value === undefined ? "there is none" : `got ${JSON.stringify(value)}`;
    throw new RowError({ line, column, want: "want a text", state: state.slice(0, 80) });
  }
  const text = value.trim();
  if (text !== "" || mayBeEmpty) return text;
  throw new RowError({ line, column, want: "want a text", state: "it is empty" });
}

/** An instruction with its input, as one turn of the user. @throws {RowError} As textOf. */
export function instructionOf(row: GoodRow): ChatMessage[] {
  const input = textOf(row, "input", { mayBeEmpty: true });
  const instruction = textOf(row, "instruction");
  return [{ role: "user", content: input === "" ? instruction : `${instruction}\n\n${input}` }];
}

const ROLES = ["system", "user", "assistant"];

/**
 * A column's messages: objects with a role and a content.
 *
 * @throws {RowError} When it is something else, or a system's turn is not before the first of user.
 */
export function messagesOf({ line, values }: GoodRow, column: string): ChatMessage[] {
  const fail = (want: string, state: unknown): never => {
    throw new RowError({ line, column, want, state: `got ${JSON.stringify(state)}`.slice(0, 80) });
  };
  const list = values[column];
  if (!Array.isArray(list) || list.length === 0) return fail("want messages", list ?? null);
  return list.map((message: unknown, index): ChatMessage => {
    const { role, content } = (message ?? {}) as Partial<ChatMessage>;
    if (typeof role !== "string" || !ROLES.includes(role) || typeof content !== "string") {
      return fail(`want a role (${ROLES.join(", ")}) and a content`, message);
    }
    const isFirst = index === 0;
    if (role === "system" && !isFirst) return fail("want a system's message first", role);
    if (isFirst && role === "system" && list[1]?.role !== "user") {
      return fail("want a user's message after the system's", list[1] ?? null);
    }
    if (role === "assistant" && content.trim() === "") return fail("want a text", message);
    return { role, content };
  });
}

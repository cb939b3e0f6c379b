/**
 * Tables with named columns: TSV, CSV, JSONL and XML files, row by row with their lines.
 *
 * @module
 */
import { parse } from "csv-parse/sync";
import { SaxesParser } from "saxes";
import { CannotError } from "../config/cannot.ts";
import { decodeUtf8, readBytes } from "./text.ts";

/** The formats that can be read. */
export const TABLE_FORMATS = ["tsv", "csv", "jsonl", "xml"] as const;

/** How a file holds its rows. */
export type TableFormat = typeof TABLE_FORMATS[number];

/** What is wrong with one row. */
export interface RowFault {
  /** Of the file, from 1. */
  readonly line: number;
  /** Undefined where the row as a whole is wrong. */
  readonly column?: string | undefined;
  /** As in {@linkcode CannotError}. */
  readonly want: string;
  /** As in {@linkcode CannotError}. */
  readonly state: string;
}

/** A row: its values by column, or what is wrong with it. */
export type TableRow =
  | { readonly line: number; readonly values: Readonly<Record<string, unknown>> }
  | { readonly line: number; readonly fault: RowFault };

/** Options of {@linkcode readTable}. */
export interface TableOptions {
  /**
   * How the file holds its rows.
   *
   * @default by the name: .tsv, .csv, .jsonl, .ndjson, .xml, with or without .gz
   */
  format?: TableFormat | undefined;
  /** Names of the columns of a TSV or CSV file. @default its first row */
  header?: readonly string[] | undefined;
}

const BY_NAME: Readonly<Record<string, TableFormat>> = {
  tsv: "tsv",
  csv: "csv",
  jsonl: "jsonl",
  ndjson: "jsonl",
  xml: "xml",
};

/**
 * Reads all rows of a file. TSV has no quotes; CSV has those of RFC 4180; a row of XML is a child
 * of the root, its columns are its attributes and its own children's texts.
 *
 * @throws {CannotError} When the file cannot be read, is not UTF-8, has no rows, or its format is
 * not known.
 */
export async function readTable(path: string, options: TableOptions = {}): Promise<TableRow[]> {
  const act = `read ${path}`;
  const [, ending = "", gzip] = /\.([a-z]+)(\.gz)?$/i.exec(path) ?? [];
  const format = options.format ?? BY_NAME[ending.toLowerCase()];
  if (format === undefined) {
    const want = "want a name that ends in .tsv, .csv, .jsonl or .xml, or a format";
    throw new CannotError(act, want, `got "${path}"`);
  }
  const chunks = await Array.fromAsync(
    decodeUtf8(readBytes(path, { isGzip: gzip !== undefined }), path),
  );
  const rows = parseTable(chunks.join(""), format, { ...options, label: path });
  if (rows.length > 0) return rows;
  throw new CannotError(act, "want rows", "there is none");
}

/** As {@linkcode readTable}, of a text. @throws {CannotError} When nothing of it can be read. */
export function parseTable(
  text: string,
  format: TableFormat,
  options: { header?: readonly string[] | undefined; label: string },
): TableRow[] {
  if (format === "jsonl") return parseLines(text);
  if (format === "xml") return parseXml(text, options.label);
  return parseColumns(text, format, options);
}

/** The `CannotError` that a bad row is. */
export function faultError(path: string, { line, column, want, state }: RowFault): Error {
  const where = column === undefined ? "" : `, column "${column}"`;
  return new CannotError(`read ${path}, line ${line}${where}`, want, state);
}

function parseLines(text: string): TableRow[] {
  return text.split("\n").flatMap((source, index): TableRow[] => {
    if (source.trim() === "") return [];
    const line = index + 1;
    const bad = (state: string) => ({ line, fault: { line, want: "want a JSON object", state } });
    try {
      const value: unknown = JSON.parse(source);
      if (typeof value === "object" && value !== null && !Array.isArray(value)) {
        return [{ line, values: value as Record<string, unknown> }];
      }
      return [bad(`got ${shown(source)}`)];
    } catch {
      return [bad(`got ${shown(source)}`)];
    }
  });
}

function parseColumns(
  text: string,
  format: "tsv" | "csv",
  { header, label }: { header?: readonly string[] | undefined; label: string },
): TableRow[] {
  const records = orRefuse(label, () =>
    parse(text, {
      delimiter: format === "tsv" ? "\t" : ",",
      quote: format === "tsv" ? false : '"',
      info: true,
      relax_column_count: true,
      skip_empty_lines: true,
    }) as unknown as { record: string[]; info: { lines: number } }[]);
  const names = header ?? records.shift()?.record ?? [];
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) {
    throw new CannotError(`read ${label}`, "want columns of different names", `"${twice}" twice`);
  }
  return records.map(({ record, info }): TableRow => {
    // The parser knows the line on which a row ends; quoted values may have more than one.
    const inner = record.reduce((sum, value) => sum + value.split("\n").length - 1, 0);
    const line = info.lines - inner;
    if (record.length > names.length) {
      const want = `want ${names.length} columns`;
      return { line, fault: { line, want, state: `it has ${record.length}` } };
    }
    return { line, values: Object.fromEntries(record.map((value, i) => [names[i]!, value])) };
  });
}

/** A quote out of place hides where rows end: nothing of the file can be relied on. */
function orRefuse<T>(label: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const [state] = (cause as Error).message.split("\n", 1);
    throw new CannotError(`read ${label}`, "want CSV", state!, { cause });
  }
}

function parseXml(text: string, label: string): TableRow[] {
  const parser = new SaxesParser({ fileName: label });
  const rows: { line: number; values: Record<string, string> }[] = [];
  const names: string[] = [];
  let failure: Error | undefined;
  parser.on("error", (error) => failure ??= error);
  parser.on("opentag", ({ name, attributes }) => {
    names.push(name);
    if (names.length === 2) {
      rows.push({ line: parser.line, values: { ...attributes as Record<string, string> } });
    }
    if (names.length === 3) rows.at(-1)!.values[name] ??= "";
  });
  parser.on("text", (part) => {
    const name = names[2];
    if (name !== undefined) rows.at(-1)!.values[name] += part;
  });
  parser.on("closetag", () => names.pop());
  parser.write(text).close();
  if (failure === undefined) return rows;
  const state = failure.message.replace(`${label}:`, "line ");
  throw new CannotError(`read ${label}`, "want XML", state, { cause: failure });
}

function shown(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

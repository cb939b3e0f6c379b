/**
 * Examples of the four tasks of GPT-1's fine-tuning, out of tables with named columns.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import {
  faultError,
  readTable,
  type RowFault,
  type TableOptions,
  type TableRow,
} from "./tables.ts";
import type { TaskKind } from "./task_kind.ts";

/** Which columns an example comes from; the texts of several are joined by a space. */
export interface TaskColumns {
  /** The text, the premise, the first sentence, or what the choices follow. */
  readonly first: readonly string[];
  /** The hypothesis or the second sentence; empty for the other tasks. */
  readonly second: readonly string[];
  /** A column a choice, or one column of lists (JSONL); empty for the other tasks. */
  readonly choices: readonly string[];
  /** The label, or the score. */
  readonly label: string;
}

/** How the rows of a table are examples of a task. */
export interface TaskSpec {
  /** Decides which columns count. */
  readonly task: TaskKind;
  /** Where its parts are. */
  readonly columns: TaskColumns;
  /** Labels by class, or by choice; undefined where the data has to show them. */
  readonly labels?: readonly string[] | undefined;
  /** Lowest and highest score of a similarity whose labels are numbers, not classes. */
  readonly scores?: readonly [number, number] | undefined;
  /** Choices of each example; undefined where the data has to show it. */
  readonly choices?: number | undefined;
}

/** What every table of one model agrees on. */
export interface TaskClasses {
  /** K: classes, or choices of an example. */
  readonly classes: number;
  /** By class or choice; scores as numbers. */
  readonly labels: readonly string[];
}

/** One example. */
export interface Example {
  /** Of the file that it is from. */
  readonly line: number;
  /** One text, two, or a text and its choices; none is empty. */
  readonly segments: readonly string[];
  /** (K) shares of the classes or choices, which add up to 1; undefined without a label. */
  readonly target: Float32Array | undefined;
  /** The number that the label is, or the index of its class or choice; NaN without one. */
  readonly label: number;
}

/** Options of {@linkcode readExamples}. */
export interface ReadExamplesOptions extends TableOptions {
  /** Leaves bad rows out and lists them, instead of refusing the file. @default false */
  skipBad?: boolean;
  /** Known from other data; else this table shows them. */
  classes?: TaskClasses | undefined;
  /** Whether rows need no label, as in prediction. @default false */
  labelOptional?: boolean;
}

/** What a table held. */
export interface TaskData extends TaskClasses {
  /** In the order of the file. */
  readonly examples: readonly Example[];
  /** Rows that were left out. */
  readonly bad: readonly RowFault[];
}

/**
 * Reads the examples of a file.
 *
 * @throws {CannotError} On the first bad row, with its file, line and column, unless bad rows are
 * skipped; and when no example is left or the labels do not fit the task.
 */
export async function readExamples(
  path: string,
  spec: TaskSpec,
  options: ReadExamplesOptions = {},
): Promise<TaskData> {
  return examplesOf(await readTable(path, options), path, spec, options);
}

/** As {@linkcode readExamples}, of rows. */
export function examplesOf(
  rows: readonly TableRow[],
  path: string,
  spec: TaskSpec,
  options: Pick<ReadExamplesOptions, "skipBad" | "classes" | "labelOptional"> = {},
): TaskData {
  const choices = options.classes && spec.task === "choice"
    ? options.classes.classes
    : spec.choices ?? choicesOf(rows, spec);
  const bad: RowFault[] = [];
  const parts: Parts[] = [];
  for (const row of rows) {
    try {
      parts.push(partsOf(row, { ...spec, choices }, options.labelOptional ?? false));
    } catch (fault) {
      bad.push(asFault(fault));
    }
  }
  // What bad rows would have shown of the labels is not known.
  const isKnown = options.classes !== undefined || spec.labels !== undefined;
  if (bad.length > 0 && !options.skipBad && !isKnown) throw refusal(path, bad);
  const known = options.classes ?? classesOf(parts, path, spec, choices);
  const examples: Example[] = [];
  for (const part of parts) {
    try {
      examples.push(exampleOf(part, spec, known));
    } catch (fault) {
      bad.push(asFault(fault));
    }
  }
  bad.sort((a, b) => a.line - b.line);
  if (bad.length > 0 && !options.skipBad) throw refusal(path, bad);
  if (examples.length === 0) {
    throw new CannotError(`read ${path}`, "want examples", `all of its ${bad.length} rows are bad`);
  }
  return { examples, bad, ...known };
}

/** The first bad row, and how many more there are. */
function refusal(path: string, bad: readonly RowFault[]): Error {
  const error = faultError(path, bad[0]!);
  const more = bad.length === 1 ? "" : ` (and ${bad.length - 1} more bad rows)`;
  error.message += `${more}; --skip-bad leaves such rows out`;
  return error;
}

/** Texts of a row, not yet of any class. */
interface Parts {
  readonly line: number;
  readonly segments: readonly string[];
  readonly label: string | undefined;
}

/** Thrown while one row is read. */
class Fault extends Error {
  constructor(readonly fault: RowFault) {
    super(fault.state);
  }
}

function asFault(error: unknown): RowFault {
  if (error instanceof Fault) return error.fault;
  throw error;
}

/** Choices of the first row that has any. */
function choicesOf(rows: readonly TableRow[], { task, columns }: TaskSpec): number {
  if (task !== "choice") return 0;
  if (columns.choices.length > 1) return columns.choices.length;
  for (const row of rows) {
    const value = "values" in row ? row.values[columns.choices[0]!] : undefined;
    if (Array.isArray(value) && value.length > 0) return value.length;
  }
  return 1;
}

function partsOf(row: TableRow, spec: TaskSpec, labelOptional: boolean): Parts {
  if ("fault" in row) throw new Fault(row.fault);
  const { line, values } = row;
  const { task, columns } = spec;
  const segments = [joined(row, columns.first)];
  if (task === "entailment" || task === "similarity") segments.push(joined(row, columns.second));
  if (task === "choice") {
    const [only] = columns.choices;
    const list = columns.choices.length === 1 ? valueOf(row, only!) : undefined;
    const texts = Array.isArray(list)
      ? list.map((value) => textOf(value, line, only!))
      : columns.choices.map((column) => joined(row, [column]));
    if (texts.length !== spec.choices) {
      const want = `want ${spec.choices} choices`;
      throw new Fault({
        line,
        column: columns.choices.join(", "),
        want,
        state: `got ${texts.length}`,
      });
    }
    segments.push(...texts);
  }
  if (labelOptional && values[columns.label] === undefined) {
    return { line, segments, label: undefined };
  }
  return { line, segments, label: textOf(valueOf(row, columns.label), line, columns.label) };
}

type GoodRow = Extract<TableRow, { values: unknown }>;

function joined(row: GoodRow, columns: readonly string[]): string {
  return columns.map((column) => textOf(valueOf(row, column), row.line, column)).join(" ");
}

function valueOf({ line, values }: GoodRow, column: string): unknown {
  if (Object.hasOwn(values, column)) return values[column];
  const names = Object.keys(values).map((name) => `"${name}"`).join(", ");
  throw new Fault({ line, column, want: "want a value", state: `the row has only ${names}` });
}

function textOf(value: unknown, line: number, column: string): string {
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value !== "string") {
    const state = `got ${JSON.stringify(value)}`;
    throw new Fault({ line, column, want: "want a text", state });
  }
  const text = value.trim();
  if (text !== "") return text;
  throw new Fault({ line, column, want: "want a text", state: "it is empty" });
}

/** Classes that the specification names or the labels show, sorted. */
function classesOf(
  parts: readonly Parts[],
  path: string,
  { task, labels, scores, columns }: TaskSpec,
  choices: number,
): TaskClasses {
  if (task === "similarity" && scores) {
    const [low, high] = scores;
    const names = Array.from({ length: high - low + 1 }, (_, k) => String(low + k));
    return { classes: names.length, labels: names };
  }
  const found = labels ??
    [...new Set(parts.flatMap(({ label }) => label === undefined ? [] : [label]))].sort();
  const act = `read ${path}`;
  if (task === "choice" && found.length !== choices) {
    const want = `want a label for each of ${choices} choices in column "${columns.label}"`;
    throw new CannotError(act, want, `they are ${shown(found)}; say them with --set labels=[…]`);
  }
  if (task !== "choice" && found.length < 2) {
    const want = `want 2 or more labels in column "${columns.label}"`;
    throw new CannotError(act, want, `they are ${shown(found)}`);
  }
  return { classes: found.length, labels: found };
}

function exampleOf({ line, segments, label }: Parts, spec: TaskSpec, known: TaskClasses): Example {
  if (label === undefined) return { line, segments, target: undefined, label: NaN };
  const target = new Float32Array(known.classes);
  const column = spec.columns.label;
  if (spec.task === "similarity" && spec.scores) {
    const [low, high] = spec.scores;
    const score = label === "" ? NaN : Number(label);
    if (!(score >= low && score <= high)) {
      const want = `want a score from ${low} to ${high}`;
      throw new Fault({ line, column, want, state: `got "${label}"` });
    }
    return { line, segments, target: softLabel(score - low, known.classes), label: score };
  }
  const index = known.labels.indexOf(label);
  if (index < 0) {
    const want = `want one of ${shown(known.labels)}`;
    throw new Fault({ line, column, want, state: `got "${label}"` });
  }
  target[index] = 1;
  return { line, segments, target, label: index };
}

/**
 * A score between classes as shares of the two beside it.
 *
 * Source: K. S. Tai et al., "Improved Semantic Representations From Tree-Structured Long Short-Term
 * Memory Networks", 2015, section 4.2.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals([...softLabel(1.25, 4)], [0, 0.75, 0.25, 0]);
 * ```
 *
 * @param score from 0 to classes - 1
 */
export function softLabel(score: number, classes: number): Float32Array {
  const shares = new Float32Array(classes);
  const below = Math.min(Math.floor(score), classes - 1);
  shares[below] = 1 - (score - below);
  if (below + 1 < classes) shares[below + 1] = score - below;
  return shares;
}

function shown(labels: readonly string[]): string {
  const some = labels.slice(0, 8).map((label) => `"${label}"`).join(", ");
  return labels.length === 0 ? "none" : labels.length > 8 ? `${some}, …` : some;
}

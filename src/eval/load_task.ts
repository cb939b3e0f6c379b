/**
 * A task from its file: its settings, and the items of its data.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { dirname, resolve } from "node:path";
import * as z from "zod";
import { CannotError, orCannot } from "../config/cannot.ts";
import { loadConfig } from "../config/config.ts";
import { faultError, readTable, type TableRow } from "../data/tables.ts";
import { type Fields, FieldTemplate } from "./fields.ts";
import {
  TASK_KINDS,
  TASK_SCHEMAS,
  type TaskKind,
  type TaskOf,
  type TaskSpec,
} from "./task_schema.ts";

/** A label, with other wordings or without. */
export type TaskLabel = Exclude<TaskOf<"choice">["choices"], string>[number];

/** A row as texts. */
export interface TaskItem {
  /** Its number in the data, from 0. */
  readonly index: number;
  /** Line of the file on which it ends. */
  readonly line: number;
  /** Input, question or text. */
  readonly input: string;
  /** What is wanted: an answer, a word, the name of a label; of several references the first. */
  readonly output: string;
  /** All that are right. */
  readonly references: readonly string[];
  /** Of a choice. */
  readonly labels: readonly TaskLabel[];
  /** The steps to the output, where there are any. */
  readonly rationale: string;
}

/** A task that can be run. */
export interface EvalTask {
  /** Path of its file. */
  readonly path: string;
  /** What the file says. */
  readonly spec: TaskSpec;
  /** Path of its data, as it was given. */
  readonly dataFile: string;
  /** Its data. */
  readonly items: readonly TaskItem[];
  /** Examples to choose shots from; undefined where they are the items themselves. */
  readonly pool: readonly TaskItem[] | undefined;
  /** Of the task file. */
  readonly taskSha256: string;
  /** Of the data file. */
  readonly dataSha256: string;
  /** Rows that were bad, where these are left out. */
  readonly leftOut: readonly string[];
}

/** How to read one. */
export interface LoadTaskOptions {
  /** Leave bad rows out, and list them, in place of an error. @default false */
  readonly skipBad?: boolean | undefined;
  /** Path of the data, in place of what the task file says; from the current folder. */
  readonly data?: string | undefined;
  /** Settings over the file: `a.b=c`. */
  readonly set?: readonly string[] | undefined;
}

/**
 * Reads a task file, its data and its examples.
 *
 * @throws {CannotError} with file and line for what is wrong in them
 */
export async function loadTask(path: string, options: LoadTaskOptions = {}): Promise<EvalTask> {
  const { kind } = await loadConfig(z.looseObject({ kind: z.enum(TASK_KINDS) }), {
    file: path,
    set: options.set,
  });
  const schema: z.ZodType<TaskSpec> = TASK_SCHEMAS[kind as TaskKind];
  const spec = await loadConfig(schema, { file: path, set: options.set });
  const leftOut: string[] = [];
  const folder = dirname(path);
  const data = options.data ?? resolve(folder, spec.data);
  const reader = new ItemReader(spec);
  const items = await reader.read(data, options.skipBad ? leftOut : undefined);
  if (items.length === 0) {
    throw new CannotError(`use ${path}`, `want items in ${data}`, "all of its rows are bad");
  }
  return {
    path,
    spec,
    dataFile: options.data ?? spec.data,
    items,
    pool: await poolOf(spec, { folder, reader }),
    taskSha256: await sha256Of(path),
    dataSha256: await sha256Of(data),
    leftOut,
  };
}

async function poolOf(
  spec: TaskSpec,
  { folder, reader }: { folder: string; reader: ItemReader },
): Promise<TaskItem[] | undefined> {
  if (spec.kind === "perplexity" || spec.shots.k === 0) return undefined;
  const { data, examples } = spec.shots;
  if (data !== undefined && examples !== undefined) {
    const state = "both are there";
    throw new CannotError('use "shots"', 'want one of "data" and "examples"', state);
  }
  if (examples !== undefined) {
    return examples.map((example, index) => ({
      ...example,
      index,
      line: 0,
      references: [example.output],
      labels: [],
    }));
  }
  return data === undefined ? undefined : await reader.read(resolve(folder, data), undefined);
}

async function sha256Of(path: string): Promise<string> {
  const bytes = await orCannot(`read ${path}`, "want a file", () => Deno.readFile(path));
  return createHash("sha256").update(bytes).digest("hex");
}

type Reading = Omit<TaskItem, "index" | "line">;

/** Makes items of rows. */
class ItemReader {
  readonly #header: readonly string[] | undefined;
  readonly #kind: TaskKind;
  readonly #read: (row: Fields, where: string) => Reading;

  constructor(spec: TaskSpec) {
    this.#header = spec.header;
    this.#kind = spec.kind;
    this.#read = readingOf(spec);
  }

  /** @param leftOut gets what is wrong with bad rows; without it, one is an error */
  async read(path: string, leftOut: string[] | undefined): Promise<TaskItem[]> {
    if (this.#kind === "perplexity" && /\.(txt|md)$/i.test(path)) {
      const text = await orCannot(`read ${path}`, "want a text", () => Deno.readTextFile(path));
      return [{ index: 0, line: 1, ...this.#read({ text }, path) }];
    }
    const rows = await readTable(path, this.#header ? { header: this.#header } : {});
    const items: TaskItem[] = [];
    for (const row of rows) {
      try {
        items.push({ index: items.length, line: row.line, ...this.#item(path, row) });
      } catch (error) {
        if (leftOut === undefined || !(error instanceof CannotError)) throw error;
        leftOut.push(error.message);
      }
    }
    return items;
  }

  #item(path: string, row: TableRow): Reading {
    if ("fault" in row) throw faultError(path, row.fault);
    return this.#read(withNames(row.values), `${path}, line ${row.line}`);
  }
}

/** Fields whose names Jinja cannot write are there under another name, too: a-b as a_b. */
function withNames(row: Fields): Fields {
  const others = Object.entries(row).map(([name, value]) => [name.replaceAll(/\W/g, "_"), value]);
  return { ...Object.fromEntries(others), ...row };
}

const NOTHING = { references: [], labels: [], rationale: "" };

/** What makes texts of a row's fields. */
function readingOf(spec: TaskSpec): (row: Fields, where: string) => Reading {
  switch (spec.kind) {
    case "perplexity": {
      const text = new FieldTemplate(spec.text, "text");
      return (row, where) => ({ ...NOTHING, input: text.render(row, where), output: "" });
    }
    case "cloze":
      return clozeReading(spec);
    case "choice":
      return choiceReading(spec);
    case "cot": {
      const [input, output, rationale] = (["input", "output", "rationale"] as const).map((name) =>
        new FieldTemplate(spec[name], name)
      ) as [FieldTemplate, FieldTemplate, FieldTemplate];
      return (row, where) => {
        const wanted = output.render(row, where);
        if (wanted.trim() === "") throw emptyError("output", where);
        const question = input.render(row, where);
        if (question.trim() === "") throw emptyError("input", where);
        return {
          ...NOTHING,
          input: question,
          output: wanted,
          references: [wanted],
          rationale: rationale.render(row, where),
        };
      };
    }
    case "generate":
    case "summary":
    case "translation": {
      const input = new FieldTemplate(spec.input, "input");
      const output = new FieldTemplate(spec.output, "output");
      return (row, where) => {
        const text = output.render(row, where);
        const references = /^\s*\[\s*"/.test(text) ? output.renderList(row, where) : [text];
        if (references.some((each) => each.trim() === "")) throw emptyError("output", where);
        return { ...NOTHING, input: input.render(row, where), output: references[0]!, references };
      };
    }
  }
}

function clozeReading(spec: TaskOf<"cloze">): (row: Fields, where: string) => Reading {
  if (spec.text !== undefined) {
    const text = new FieldTemplate(spec.text, "text");
    return (row, where) => {
      const whole = text.render(row, where).trimEnd();
      const at = whole.search(/\s\S+$/);
      if (at < 1) throw new CannotError(`read "text" from ${where}`, "want two words", "got fewer");
      const output = whole.slice(at).trim();
      return { ...NOTHING, input: whole.slice(0, at), output, references: [output] };
    };
  }
  const [input, output] = [
    new FieldTemplate(spec.input, "input"),
    new FieldTemplate(spec.output, "output"),
  ];
  return (row, where) => {
    const wanted = output.render(row, where).trim();
    if (wanted === "") throw emptyError("output", where);
    const context = input.render(row, where).trimEnd();
    return { ...NOTHING, input: context, output: wanted, references: [wanted] };
  };
}

function choiceReading(spec: TaskOf<"choice">): (row: Fields, where: string) => Reading {
  const input = new FieldTemplate(spec.input, "input");
  const { choices } = spec;
  const list = typeof choices === "string" ? new FieldTemplate(choices, "choices") : undefined;
  const fixed = typeof choices === "string" ? [] : choices.map((label) => {
    return typeof label === "string" ? new FieldTemplate(label, "choices") : label;
  });
  const by = spec.index === undefined ? "output" : "index";
  const wanted = new FieldTemplate(spec.index ?? spec.output!, by);
  return (row, where) => {
    const labels: TaskLabel[] = list?.renderList(row, where) ?? fixed.map((label) => {
      return label instanceof FieldTemplate ? label.render(row, where) : label;
    });
    const names = labels.map((label) => typeof label === "string" ? label : label.name);
    const empty = names.findIndex((name) => name.trim() === "");
    if (empty >= 0) throw emptyError(`choices.${empty}`, where);
    const text = wanted.render(row, where).trim();
    const output = by === "output"
      ? names.find((name) => name.trim() === text)
      : /^\d+$/.test(text)
      ? names[Number(text)]
      : undefined;
    if (output === undefined) {
      const want = by === "output"
        ? `want one of ${names.map((name) => JSON.stringify(name)).join(", ")}`
        : `want a whole number from 0 to ${names.length - 1}`;
      throw new CannotError(`read "${by}" from ${where}`, want, `got ${JSON.stringify(text)}`);
    }
    return { ...NOTHING, input: input.render(row, where), output, references: [output], labels };
  };
}

function emptyError(name: string, where: string): CannotError {
  return new CannotError(`read "${name}" from ${where}`, "want a text", "it is empty");
}

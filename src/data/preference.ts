/**
 * Comparisons: several responses to one prompt in the order of a judge, out of rows of JSON that
 * are told apart by the names of their columns.
 *
 * | columns | a row is |
 * | --- | --- |
 * | `prompt`, `chosen`, `rejected` | two responses, the chosen one better |
 * | `instruction`, `input`, `chosen`, `rejected` | the same |
 * | `chosen`, `rejected` | two transcripts, alike but for the last turn |
 * | `prompt`, `completions`, `ranks` (or `scores`) | 2 to 9 responses |
 * | `question`, columns of `{is_correct, solution}` | as many solutions, the correct ones better |
 *
 * A transcript is a list of messages, or a text of `\n\nHuman:` and `\n\nAssistant:` turns. Equal
 * ranks are ties; rank 1 is the best, and so is the highest score. A `confidence` (a number or a
 * text) says how sure the judge was, a `weight` (a number from 0) how much the row counts.
 *
 * @module
 */
import type { ChatMessage } from "../prompt/chat_template.ts";
import {
  type GoodRow,
  has,
  instructionOf,
  messagesOf,
  readRows,
  type ReadRowsOptions,
  RowError,
  type Rows,
  rowsOf,
  textOf,
} from "./instruct_rows.ts";

/** The most responses to one prompt (Ouyang et al. 2022, section 3.5). */
export const MOST_RESPONSES = 9;

/** Responses to a prompt, in the order of a judge. */
export interface Comparison {
  /** Of the file that it is from. */
  readonly line: number;
  /** What they answer; it ends with the user's turn. */
  readonly prompt: readonly ChatMessage[];
  /** K of them, 2 to 9. */
  readonly responses: readonly string[];
  /** (K), lower is better; equal ones are ties. */
  readonly ranks: readonly number[];
  /** How sure the judge was, where the data says it. */
  readonly confidence?: string | undefined;
  /** How much its pairs count. @default 1 */
  readonly weight?: number | undefined;
}

/** Reads a file. @throws {CannotError} As {@linkcode readRows}. */
export function readComparisons(
  path: string,
  options: ReadRowsOptions = {},
): Promise<Rows<Comparison>> {
  return readRows(path, comparisonOf, options);
}

/** As {@linkcode readComparisons}, of a text. */
export function parseComparisons(
  text: string,
  path: string,
  options: ReadRowsOptions = {},
): Rows<Comparison> {
  return rowsOf(text, path, comparisonOf, options);
}

/**
 * Weights of all comparisons of a prompt: [i, j] is weight / C(K, 2) where i is better than j. Ties
 * and responses of the same text have none, and are counted.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const { weights, pairs, ties } = pairWeights({ ranks: [1, 2, 2], responses: ["a", "b", "c"] });
 * assertEquals(weights, [0, 1 / 3, 1 / 3, 0, 0, 0, 0, 0, 0]);
 * assertEquals([pairs, ties], [2, 1]);
 * ```
 */
export function pairWeights(
  { ranks, responses, weight = 1 }: Pick<Comparison, "ranks" | "responses" | "weight">,
): { weights: number[]; pairs: number; ties: number } {
  const K = ranks.length;
  const all = K * (K - 1) / 2;
  let pairs = 0;
  const weights = Array.from({ length: K * K }, (_, n) => {
    const [i, j] = [Math.floor(n / K), n % K];
    if (!(ranks[i]! < ranks[j]!) || responses[i] === responses[j] || weight === 0) return 0;
    pairs++;
    return weight / all;
  });
  return { weights, pairs, ties: all - pairs };
}

function comparisonOf(row: GoodRow): Comparison {
  const { line } = row;
  const confidence = confidenceOf(row);
  const weight = weightOf(row);
  const rest = {
    ...(confidence === undefined ? {} : { confidence }),
    ...(weight === undefined ? {} : { weight }),
  };
  if (has(row, "chosen", "rejected")) return { line, ...pairOf(row), ranks: [1, 2], ...rest };
  if (has(row, "completions")) return { line, ...rankedOf(row), ...rest };
  const solutions = Object.keys(row.values).filter((column) => isSolution(row.values[column]));
  if (has(row, "question") && solutions.length > 0) {
    return { line, ...solvedOf(row, solutions), ...rest };
  }
  const names = Object.keys(row.values).map((name) => `"${name}"`).join(", ") || "none";
  throw new RowError({
    line,
    want: "want chosen and rejected, or prompt, completions and ranks",
    state: `it has ${names}`,
  });
}

type Parts = Pick<Comparison, "prompt" | "responses">;

function pairOf(row: GoodRow): Parts {
  if (has(row, "instruction")) return twoTexts(row, instructionOf(row));
  if (has(row, "prompt")) {
    const prompt = Array.isArray(row.values.prompt)
      ? promptOf(row, messagesOf(row, "prompt"))
      : [{ role: "user", content: textOf(row, "prompt") } as const];
    if (!Array.isArray(row.values.chosen)) return twoTexts(row, prompt);
  }
  const [chosen, rejected] = ["chosen", "rejected"].map((column) => transcriptOf(row, column)) as [
    ChatMessage[],
    ChatMessage[],
  ];
  const prompt = chosen.slice(0, -1);
  if (JSON.stringify(prompt) !== JSON.stringify(rejected.slice(0, -1))) {
    const [want, state] = ["want the turns of chosen but for the last", "they differ"];
    throw new RowError({ line: row.line, column: "rejected", want, state });
  }
  return {
    prompt: promptOf(row, prompt),
    responses: [chosen.at(-1)!.content, rejected.at(-1)!.content],
  };
}

function twoTexts(row: GoodRow, prompt: readonly ChatMessage[]): Parts {
  return { prompt, responses: [textOf(row, "chosen"), textOf(row, "rejected")] };
}

/** Turns that a response can follow. */
function promptOf({ line }: GoodRow, messages: readonly ChatMessage[]): readonly ChatMessage[] {
  if (messages.at(-1)?.role === "user") return messages;
  const [want, state] = ["want the user's turn before the response", "there is none"];
  throw new RowError({ line, want, state });
}

/** A dialogue that ends with the assistant. */
function transcriptOf(row: GoodRow, column: string): ChatMessage[] {
  const messages = Array.isArray(row.values[column])
    ? messagesOf(row, column)
    : turnsOf(row, column);
  if (messages.at(-1)!.role === "assistant") return messages;
  const [want, state] = ["want the assistant's turn last", "it is the user's"];
  throw new RowError({ line: row.line, column, want, state });
}

/** A text of Anthropic's transcripts, turn by turn. */
function turnsOf(row: GoodRow, column: string): ChatMessage[] {
  const { line } = row;
  const parts = `\n\n${textOf(row, column)}`.split(/\n\n(Human|Assistant):/);
  const fail = (state: string): never => {
    const want = 'want turns that begin with "Human:" and "Assistant:"';
    throw new RowError({ line, column, want, state });
  };
  if (parts.length < 3 || parts[0]!.trim() !== "") fail("it begins with other text");
  const messages: ChatMessage[] = [];
  for (let i = 1; i < parts.length; i += 2) {
    const content = parts[i + 1]!.trim();
    if (content === "") fail(`turn ${(i + 1) / 2} is empty`);
    messages.push({ role: parts[i] === "Human" ? "user" : "assistant", content });
  }
  return messages;
}

function rankedOf(row: GoodRow): Omit<Comparison, "line"> {
  const { line, values } = row;
  const { completions } = values;
  const fail = (column: string, want: string, state: string): never => {
    throw new RowError({ line, column, want, state });
  };
  if (!Array.isArray(completions)) return fail("completions", "want a list", "it is none");
  const responses = completions.map((value, k) => {
    if (typeof value === "string" && value.trim() !== "") return value.trim();
    return fail("completions", "want texts", `number ${k + 1} is none`);
  });
  checkCount(row, "completions", responses.length);
  const column = has(row, "ranks") ? "ranks" : "scores";
  const given = values[column];
  const isNumber = (value: unknown) => typeof value === "number" && Number.isFinite(value);
  if (!Array.isArray(given) || given.length !== responses.length || !given.every(isNumber)) {
    fail(column, `want ${responses.length} numbers`, `got ${JSON.stringify(given ?? null)}`);
  }
  const numbers = given as number[];
  const ranks = column === "ranks" ? numbers : numbers.map((score) => -score);
  const prompt = Array.isArray(values.prompt)
    ? promptOf(row, messagesOf(row, "prompt"))
    : has(row, "instruction")
    ? instructionOf(row)
    : [{ role: "user", content: textOf(row, "prompt") } as const];
  return { prompt, responses, ranks };
}

interface Solution {
  readonly is_correct: boolean;
  readonly solution: string;
}

function isSolution(value: unknown): value is Solution {
  const { is_correct, solution } = (value ?? {}) as Partial<Solution>;
  return typeof is_correct === "boolean" && typeof solution === "string";
}

function solvedOf(row: GoodRow, columns: readonly string[]): Omit<Comparison, "line"> {
  checkCount(row, columns.join(", "), columns.length);
  const solutions = columns.map((column) => row.values[column] as Solution);
  const empty = columns.find((_, k) => solutions[k]!.solution.trim() === "");
  if (empty !== undefined) {
    const [want, state] = ["want a solution", "it is empty"];
    throw new RowError({ line: row.line, column: empty, want, state });
  }
  return {
    prompt: [{ role: "user", content: textOf(row, "question") }],
    responses: solutions.map(({ solution }) => solution.trim()),
    ranks: solutions.map(({ is_correct }) => is_correct ? 1 : 2),
  };
}

function checkCount({ line }: GoodRow, column: string, count: number): void {
  if (count >= 2 && count <= MOST_RESPONSES) return;
  const want = `want 2 to ${MOST_RESPONSES} responses`;
  throw new RowError({ line, column, want, state: `got ${count}` });
}

function confidenceOf({ line, values }: GoodRow): string | undefined {
  const { confidence } = values;
  if (confidence === undefined || confidence === null) return undefined;
  const isFine = typeof confidence === "string" ||
    typeof confidence === "number" && Number.isFinite(confidence);
  if (isFine) return String(confidence);
  const state = `got ${JSON.stringify(confidence)}`;
  throw new RowError({ line, column: "confidence", want: "want a number or a text", state });
}

function weightOf({ line, values: { weight } }: GoodRow): number | undefined {
  if (weight === undefined || weight === null) return undefined;
  if (typeof weight === "number" && Number.isFinite(weight) && weight >= 0) return weight;
  const state = `got ${JSON.stringify(weight)}`;
  throw new RowError({ line, column: "weight", want: "want a number from 0 on", state });
}

/**
 * Demonstrations: dialogues whose assistant's turns are to be learnt, out of rows of JSON that are
 * told apart by the names of their columns.
 *
 * | columns | a row is |
 * | --- | --- |
 * | `prompt`, `completion` (or `response`) | one question and its answer |
 * | `instruction`, `input`, `output` | the same, the input after the instruction; it may be empty |
 * | `question`, `answer` (or `ground_truth`) | the same, as in GSM8K |
 * | `messages` | a chat that ends with the assistant |
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

/** A dialogue that ends with the assistant's turn. */
export interface Demonstration {
  /** Of the file that it is from. */
  readonly line: number;
  /** In their order. */
  readonly messages: readonly ChatMessage[];
}

/** Columns of questions and of their answers. */
const PAIRS = [
  ["prompt", "completion"],
  ["prompt", "response"],
  ["question", "answer"],
  ["question", "ground_truth"],
] as const;

/** Reads a file. @throws {CannotError} As {@linkcode readRows}. */
export function readDemonstrations(
  path: string,
  options: ReadRowsOptions = {},
): Promise<Rows<Demonstration>> {
  return readRows(path, demonstrationOf, options);
}

/** As {@linkcode readDemonstrations}, of a text. */
export function parseDemonstrations(
  text: string,
  path: string,
  options: ReadRowsOptions = {},
): Rows<Demonstration> {
  return rowsOf(text, path, demonstrationOf, options);
}

function demonstrationOf(row: GoodRow): Demonstration {
  const { line } = row;
  if (has(row, "messages")) {
    const messages = messagesOf(row, "messages");
    const role = messages.at(-1)!.role;
    if (role === "assistant") return { line, messages };
    const want = "want the assistant's message last";
    throw new RowError({ line, column: "messages", want, state: `it is of ${role}` });
  }
  if (has(row, "instruction", "output")) {
    return { line, messages: [...instructionOf(row), answerOf(row, "output")] };
  }
  const pair = PAIRS.find((columns) => has(row, ...columns));
  if (!pair) {
    const names = Object.keys(row.values).map((name) => `"${name}"`).join(", ") || "none";
    throw new RowError({
      line,
      want: "want messages, prompt and completion, instruction and output, or question and answer",
      state: `it has ${names}`,
    });
  }
  const [question, answer] = pair;
  const content = textOf(row, question);
  return { line, messages: [{ role: "user", content }, answerOf(row, answer)] };
}

function answerOf(row: GoodRow, column: string): ChatMessage {
  return { role: "assistant", content: textOf(row, column) };
}

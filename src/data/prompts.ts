/**
 * Prompts to answer, out of rows of JSON that are told apart by the names of their columns; answers
 * that a row has too are passed over, so that any file of demonstrations or comparisons will do.
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
  textOf,
} from "./instruct_rows.ts";

/** A dialogue that waits for the assistant. */
export interface PromptRow {
  /** Of the file that it is from. */
  readonly line: number;
  /** In their order; the last is the user's. */
  readonly messages: readonly ChatMessage[];
}

/** Reads a file. @throws {CannotError} As {@linkcode readRows}. */
export function readPrompts(path: string, options: ReadRowsOptions = {}): Promise<Rows<PromptRow>> {
  return readRows(path, promptOf, options);
}

function promptOf(row: GoodRow): PromptRow {
  const { line } = row;
  if (has(row, "messages")) {
    const all = messagesOf(row, "messages");
    const messages = all.at(-1)!.role === "assistant" ? all.slice(0, -1) : all;
    if (messages.at(-1)?.role === "user") return { line, messages };
    const state = `it is of ${messages.at(-1)?.role ?? "nobody"}`;
    const want = "want a user's message before the answer";
    throw new RowError({ line, column: "messages", want, state });
  }
  if (has(row, "instruction")) return { line, messages: instructionOf(row) };
  const column = ["prompt", "question"].find((name) => has(row, name));
  if (column !== undefined) {
    return { line, messages: [{ role: "user", content: textOf(row, column) }] };
  }
  const names = Object.keys(row.values).map((name) => `"${name}"`).join(", ") || "none";
  const want = "want prompt, messages, instruction or question";
  throw new RowError({ line, want, state: `it has ${names}` });
}

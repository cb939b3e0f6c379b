/**
 * Documents out of files, as a stream of pieces that are small enough to encode at once.
 *
 * @module
 */

import { CannotError } from "../config/cannot.ts";
import type { Source } from "./sources.ts";
import { decodeUtf8, readBytes } from "./text.ts";

/** A part of a document. */
export interface Piece {
  /** Never empty, unless it ends a document. */
  readonly text: string;
  /** Whether the document ends with it. */
  readonly isLast: boolean;
}

/** Options of {@linkcode readPieces}. */
export interface PieceOptions {
  /** The field of a JSONL line that holds its text. @default "text" */
  field?: string | undefined;
  /** Longer documents come in pieces of about so many UTF-16 units. @default 1 Mi */
  pieceLength?: number | undefined;
}

const PIECE_LENGTH = 1 << 20;

/**
 * The documents of all sources. Documents without text are passed over.
 *
 * A long document is cut before a single space or line feed between two other characters: there our
 * tokenizers begin a new word anyway, so that the pieces' tokens are those of the whole.
 *
 * @throws {CannotError} naming the file and the byte or the line, when one cannot be read
 */
export async function* readPieces(
  sources: readonly Source[],
  options: PieceOptions = {},
): AsyncGenerator<Piece> {
  for (const source of sources) {
    const text = decodeUtf8(readBytes(source.path, source), source.path);
    if (source.format === "text") yield* piecesOf(text, options.pieceLength);
    else yield* piecesOfLines(text, source.path, options);
  }
}

/** One document that comes in chunks. */
export async function* piecesOf(
  chunks: AsyncIterable<string> | Iterable<string>,
  pieceLength = PIECE_LENGTH,
): AsyncGenerator<Piece> {
  let held = "";
  for await (const chunk of chunks) {
    held += chunk;
    while (held.length > 2 * pieceLength) {
      const at = cutOf(held, pieceLength);
      if (at === undefined) break; // no place yet
      yield { text: held.slice(0, at), isLast: false };
      held = held.slice(at);
    }
  }
  if (held.length > 0) yield { text: held, isLast: true };
}

const CUT = /(?<=\S)[ \n](?=\S)/g;
const LONGEST_WORD = 1 << 24; // text without any space is cut after so many units

function cutOf(text: string, pieceLength: number): number | undefined {
  CUT.lastIndex = pieceLength;
  const found = CUT.exec(text);
  if (found !== null) return found.index;
  if (text.length < pieceLength + LONGEST_WORD) return undefined;
  const isPair = (text.charCodeAt(LONGEST_WORD) & 0xfc00) === 0xdc00;
  return isPair ? LONGEST_WORD - 1 : LONGEST_WORD;
}

async function* piecesOfLines(
  chunks: AsyncIterable<string>,
  label: string,
  { field = "text", pieceLength }: PieceOptions,
): AsyncGenerator<Piece> {
  let number = 0;
  for await (const line of linesOf(chunks)) {
    number++;
    if (line.trim() === "") continue;
    yield* piecesOf([fieldOf(line, field, `read ${label}`, number)], pieceLength);
  }
}

/** Lines without their line feeds. */
async function* linesOf(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  let held: string[] = []; // the start of a line, which may be spread over many chunks
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf("\n"); end >= 0; end = chunk.indexOf("\n", start)) {
      held.push(chunk.slice(start, end));
      yield held.join("");
      held = [];
      start = end + 1;
    }
    held.push(chunk.slice(start));
  }
  yield held.join("");
}

function fieldOf(line: string, field: string, act: string, number: number): string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    const reason = (cause as Error).message.split("\n")[0]!;
    throw new CannotError(act, `want JSON in line ${number}`, reason, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CannotError(act, `want an object in line ${number}`, `got ${line.slice(0, 40)}`);
  }
  const text = (value as Record<string, unknown>)[field];
  if (typeof text === "string") {
    // JSON can name halves of surrogate pairs, which no UTF-8 and no tokenizer has.
    if (text.isWellFormed()) return text;
    throw new CannotError(act, `want whole characters in line ${number}`, "half of one is alone");
  }
  const names = Object.keys(value).slice(0, 8).map((name) => `"${name}"`).join(", ");
  throw new CannotError(
    act,
    `want text in the field "${field}" of line ${number}`,
    Object.hasOwn(value, field) ? `it is ${JSON.stringify(text).slice(0, 40)}` : `it has ${names}`,
  );
}

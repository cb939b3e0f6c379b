/**
 * Bytes to text, strictly: what is no UTF-8 is an error with its position, never a replacement
 * sign.
 *
 * @module
 */

import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { CannotError, orCannot, systemState } from "../config/cannot.ts";

const PAGE_BYTES = 1 << 20;

/**
 * Index of the first byte that no valid UTF-8 could have there, or -1. A sequence cut off by the
 * end is judged by its first byte.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { invalidUtf8At } from "./text.ts";
 *
 * assertEquals(invalidUtf8At(Uint8Array.of(0x61, 0xc3, 0xa9)), -1);
 * assertEquals(invalidUtf8At(Uint8Array.of(0x61, 0xc3, 0x28)), 1);
 * ```
 */
export function invalidUtf8At(bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length;) {
    const lead = bytes[i]!;
    const length = sequenceBytes(lead);
    if (length === 0 || i + length > bytes.length) return i;
    for (let k = 1; k < length; k++) {
      const next = bytes[i + k]!;
      // Second bytes that would be a longer form than needed, a surrogate, or beyond U+10FFFF.
      const low = k > 1 ? 0x80 : lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
      const high = k > 1 ? 0xbf : lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
      if (next < low || next > high) return i;
    }
    i += length;
  }
  return -1;
}

/** Bytes of the sequence that a first byte announces; 0 where it cannot be a first byte. */
function sequenceBytes(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;
  if (lead < 0xe0) return 2;
  if (lead < 0xf0) return 3;
  return lead < 0xf5 ? 4 : 0;
}

/** Bytes of `bytes` before a sequence that its end cuts off. */
function wholeBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if ((byte & 0xc0) === 0x80) continue; // inside a sequence
    return sequenceBytes(byte) > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

/**
 * Decodes a stream of bytes; a byte order mark at the start is dropped.
 *
 * @throws {CannotError} naming the byte that is not UTF-8, counted from 0
 */
export async function* decodeUtf8(
  chunks: AsyncIterable<Uint8Array>,
  label: string,
): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let held: Uint8Array = new Uint8Array(0); // start of a sequence that the last chunk cut off
  let offsetBytes = 0; // of `held` in the stream
  const decode = (bytes: Uint8Array): string => {
    try {
      const text = decoder.decode(bytes);
      const isStart = offsetBytes === 0;
      offsetBytes += bytes.length;
      return isStart && text.startsWith("\ufeff") ? text.slice(1) : text;
    } catch (cause) {
      const at = Math.max(0, invalidUtf8At(bytes));
      const byte = bytes[at]!.toString(16).toUpperCase().padStart(2, "0");
      throw new CannotError(
        `read ${label}`,
        "want UTF-8",
        `byte ${offsetBytes + at} (0x${byte}) does not fit it`,
        { cause },
      );
    }
  };
  for await (const chunk of chunks) {
    let bytes = chunk;
    if (held.length > 0) {
      bytes = new Uint8Array(held.length + chunk.length);
      bytes.set(held);
      bytes.set(chunk, held.length);
    }
    const end = wholeBytes(bytes);
    held = bytes.slice(end);
    if (end > 0) yield decode(bytes.subarray(0, end));
  }
  if (held.length > 0) yield decode(held);
}

/** The bytes of a file, unpacked where it is gzip. @throws {CannotError} when it cannot be read */
export async function* readBytes(
  path: string,
  options: { isGzip?: boolean } = {},
): AsyncGenerator<Uint8Array> {
  if (!options.isGzip) return yield* readFile(path);
  const packed = Readable.from(readFile(path), { objectMode: false });
  // Not DecompressionStream: that one refuses files of several members, which gzip allows.
  const stream = packed.pipe(createGunzip({ chunkSize: PAGE_BYTES }));
  packed.on("error", (error) => stream.destroy(error)); // pipe does not hand it on
  try {
    for await (const bytes of stream) yield bytes as Uint8Array;
  } catch (cause) {
    if (cause instanceof CannotError) throw cause;
    throw new CannotError(`read ${path}`, "want a whole gzip file", systemState(cause), { cause });
  } finally {
    packed.destroy();
    stream.destroy();
  }
}

async function* readFile(path: string): AsyncGenerator<Uint8Array> {
  const [act, want] = [`read ${path}`, "want a readable file"];
  using file = await orCannot(act, want, () => Deno.open(path));
  while (true) {
    const page = new Uint8Array(PAGE_BYTES); // not reused: streams keep them
    const count = await orCannot(act, want, () => file.read(page));
    if (count === null) return;
    yield page.subarray(0, count);
  }
}

/** What a text amounts to, whatever its tokens are. */
export interface TextSize {
  /** Code points. */
  characters: number;
  /** Length in UTF-8. */
  bytes: number;
}

/** Measures a text without halves of surrogate pairs. */
export function measureText(text: string): TextSize {
  let characters = 0;
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) bytes++;
    else if (unit < 0x800) bytes += 2;
    else if ((unit & 0xf800) === 0xd800) bytes += 2; // half of a character of 4 bytes
    else bytes += 3;
    if ((unit & 0xfc00) !== 0xdc00) characters++;
  }
  return { characters, bytes };
}

/** Where in a text its first so many characters (code points) end, in UTF-16 units. */
export function indexAfter(text: string, characters: number): number {
  if (characters >= text.length) return text.length;
  let index = 0;
  for (let left = characters; left > 0 && index < text.length; left--) {
    index += (text.charCodeAt(index) & 0xfc00) === 0xd800 ? 2 : 1;
  }
  return index;
}

/**
 * What goes into a database as bytes: numbers, and texts, which the driver would end at their first
 * NUL.
 *
 * @module
 */

/** The bytes of numbers; they are not copied. */
export function blobOf(
  { buffer, byteOffset, byteLength }: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** A text in UTF-8. */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** The text of UTF-8. */
export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Whole numbers of 32 bits; a copy, as a blob need not be aligned. */
export function wordsOf(bytes: Uint8Array): number[] {
  return [...new Uint32Array(bytes.slice().buffer)];
}

/** f32 numbers; a copy. */
export function floatsOf(bytes: Uint8Array): number[] {
  return [...new Float32Array(bytes.slice().buffer)];
}

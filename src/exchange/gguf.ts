/**
 * Writer of GGUF, version 3, the file of llama.cpp: metadata, descriptions of the tensors, and
 * their data, each tensor aligned to 32 bytes; everything little-endian
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
 *
 * @module
 */
import type { ByteSink } from "../run/safetensors.ts";
import type { FloatDtype } from "./narrow.ts";

/** ggml's numbers of the float types. */
const TENSOR_TYPE = { f32: 0, f16: 1, bf16: 30 } as const;
const ELEMENT_BYTES = { f32: 4, f16: 2, bf16: 2 } as const;
const VALUE_TYPE = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;
const VERSION = 3;
const ALIGNMENT_BYTES = 32;

/** A value of the metadata, by its type. */
export type GgufValue =
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly bool: boolean }
  | { readonly string: string }
  | { readonly i32s: readonly number[] }
  | { readonly strings: readonly string[] };

/** A tensor to be written; what is known before its bytes are. */
export interface GgufTensor {
  /** Unique in the file. */
  readonly name: string;
  /** Element type. */
  readonly dtype: FloatDtype;
  /** Row-major, last index fastest; the file has it the other way round. */
  readonly shape: readonly number[];
  /** Its elements, asked for when their turn comes. */
  readonly bytes: () => ArrayBufferView;
}

/**
 * Writes a file. Only one tensor's bytes are asked for at a time.
 *
 * @throws {RangeError} when a name comes twice, or the bytes do not fit a shape
 */
export async function writeGguf(
  sink: ByteSink,
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): Promise<void> {
  await sink.write(header(metadata, tensors));
  for (const tensor of tensors) {
    const view = tensor.bytes();
    const want = sizeOf(tensor);
    if (view.byteLength !== want) {
      throw new RangeError(
        `Cannot write "${tensor.name}": ${tensor.dtype} of (${tensor.shape.join(", ")}) ` +
          `wants ${want} bytes: got ${view.byteLength}`,
      );
    }
    await sink.write(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
    const padding = aligned(want) - want;
    if (padding > 0) await sink.write(new Uint8Array(padding));
  }
}

/** All that comes before the data, padded to where it begins. */
function header(
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): Uint8Array<ArrayBuffer> {
  const out = new Bytes();
  out.raw(new TextEncoder().encode("GGUF"));
  out.u32(VERSION);
  out.u64(tensors.length);
  const entries = Object.entries(metadata);
  out.u64(entries.length);
  for (const [key, value] of entries) {
    out.string(key);
    writeValue(out, value);
  }
  const names = new Set<string>();
  let offsetBytes = 0; // from the beginning of the data
  for (const tensor of tensors) {
    const { name, dtype, shape } = tensor;
    if (names.has(name)) {
      throw new RangeError(`Cannot write tensors: names must be unique: got "${name}" again`);
    }
    names.add(name);
    out.string(name);
    out.u32(shape.length);
    for (const dim of shape.toReversed()) out.u64(dim);
    out.u32(TENSOR_TYPE[dtype]);
    out.u64(offsetBytes);
    offsetBytes += aligned(sizeOf(tensor));
  }
  out.raw(new Uint8Array(aligned(out.sizeBytes) - out.sizeBytes));
  return out.join();
}

function writeValue(out: Bytes, value: GgufValue): void {
  if ("u32" in value) {
    out.u32(VALUE_TYPE.u32);
    out.u32(value.u32);
  } else if ("f32" in value) {
    out.u32(VALUE_TYPE.f32);
    out.raw(new Uint8Array(Float32Array.of(value.f32).buffer));
  } else if ("bool" in value) {
    out.u32(VALUE_TYPE.bool);
    out.raw(Uint8Array.of(value.bool ? 1 : 0));
  } else if ("string" in value) {
    out.u32(VALUE_TYPE.string);
    out.string(value.string);
  } else if ("i32s" in value) {
    out.u32(VALUE_TYPE.array);
    out.u32(VALUE_TYPE.i32);
    out.u64(value.i32s.length);
    out.raw(new Uint8Array(Int32Array.from(value.i32s).buffer));
  } else {
    out.u32(VALUE_TYPE.array);
    out.u32(VALUE_TYPE.string);
    out.u64(value.strings.length);
    for (const text of value.strings) out.string(text);
  }
}

/** Bytes that grow at their end. */
class Bytes {
  sizeBytes = 0;
  readonly #pieces: Uint8Array[] = [];
  readonly #utf8 = new TextEncoder();

  raw(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.sizeBytes += bytes.length;
  }

  u32(value: number): void {
    this.raw(new Uint8Array(Uint32Array.of(value).buffer));
  }

  u64(value: number): void {
    this.raw(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  string(text: string): void {
    const bytes = this.#utf8.encode(text);
    this.u64(bytes.length);
    this.raw(bytes);
  }

  join(): Uint8Array<ArrayBuffer> {
    const all = new Uint8Array(this.sizeBytes);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }
}

function sizeOf({ dtype, shape }: GgufTensor): number {
  return shape.reduce((product, dim) => product * dim, 1) * ELEMENT_BYTES[dtype];
}

function aligned(sizeBytes: number): number {
  return Math.ceil(sizeBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}

/**
 * Reader and writer of safetensors: 8 bytes of header length (little-endian), a JSON header, the
 * data (https://huggingface.co/docs/safetensors). Tensors are read and written one at a time.
 *
 * @module
 */

import { CannotError } from "../config/cannot.ts";
import { duplicateKey } from "./json.ts";
import { bytesAccess, fileAccess, type RandomAccess } from "./random_access.ts";

/** Bytes of one element, by dtype; the file has the names in capitals. */
export const ELEMENT_BYTES = {
  bool: 1,
  u8: 1,
  i8: 1,
  f8_e5m2: 1,
  f8_e4m3: 1,
  i16: 2,
  u16: 2,
  f16: 2,
  bf16: 2,
  i32: 4,
  u32: 4,
  f32: 4,
  i64: 8,
  u64: 8,
  f64: 8,
} as const;

/** Element types of a file. */
export type Dtype = keyof typeof ELEMENT_BYTES;

/** A tensor of a file; row-major. */
export interface TensorInfo {
  /** Unique in the file. */
  readonly name: string;
  /** Element type. */
  readonly dtype: Dtype;
  /** Empty for a scalar; dimensions may be 0. */
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly count: number;
  /** First byte in the file. */
  readonly offsetBytes: number;
  /** count × bytes of an element. */
  readonly sizeBytes: number;
}

/** Elements of a tensor, flat and row-major. */
export interface ElementRange {
  /** First element. @default 0 */
  start?: number;
  /** How many. @default all up to the end */
  count?: number;
}

const MAX_HEADER_BYTES = 100_000_000; // the format's own limit
const METADATA = "__metadata__";
const ALIGNMENT_BYTES = 8;
const PAGE_ELEMENTS = 1 << 18;
const MAX_SHOWN = 60;

/** An open file of tensors. Who opens it closes it. */
export class Safetensors {
  /** By name, in the order of their data. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** The header's `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly #source: RandomAccess;

  /** Reads and checks the header. @throws {CannotError} on anything the format does not allow */
  constructor(source: RandomAccess) {
    this.#source = source;
    const { tensors, metadata } = readHeader(source);
    this.tensors = tensors;
    this.metadata = metadata;
  }

  /** What is known of a tensor. @throws {CannotError} when the file has none of that name */
  info(name: string): TensorInfo {
    const info = this.tensors.get(name);
    if (info !== undefined) return info;
    throw new CannotError(
      `read ${this.#source.label}`,
      `want a tensor ${show(name)}`,
      `its ${this.tensors.size} tensors have other names`,
    );
  }

  /** A copy of a tensor's bytes, little-endian, or of a range of its elements. */
  bytes(name: string, range: ElementRange = {}): Uint8Array<ArrayBuffer> {
    const info = this.info(name);
    const { start = 0, count = info.count - start } = range;
    this.#checkRange(name, start, count);
    const elementBytes = ELEMENT_BYTES[info.dtype];
    const bytes = new Uint8Array(count * elementBytes);
    this.#source.read(bytes, info.offsetBytes + start * elementBytes);
    return bytes;
  }

  /** A tensor of floats (f32, f16, bf16, f64) as f32. @throws {CannotError} on other dtypes */
  floats(name: string, range: ElementRange = {}): Float32Array<ArrayBuffer> {
    const { dtype, count: total } = this.info(name);
    if (dtype === "f32") return new Float32Array(this.bytes(name, range).buffer);
    if (!isFloat(dtype)) {
      throw new CannotError(
        `read ${this.#source.label}`,
        `want floats in ${show(name)}`,
        `its elements are ${dtype}`,
      );
    }
    const { start = 0, count = total - start } = range;
    this.#checkRange(name, start, count);
    const floats = new Float32Array(count);
    // A page at a time: a large tensor is not held twice.
    for (let at = 0; at < count; at += PAGE_ELEMENTS) {
      const pageCount = Math.min(PAGE_ELEMENTS, count - at);
      const { buffer } = this.bytes(name, { start: start + at, count: pageCount });
      widen(dtype, buffer, floats.subarray(at, at + pageCount));
    }
    return floats;
  }

  /** Gives the file back. */
  close(): void {
    this.#source.close();
  }

  #checkRange(name: string, start: number, count: number): void {
    const total = this.info(name).count;
    const isWhole = Number.isInteger(start) && Number.isInteger(count);
    if (isWhole && start >= 0 && count >= 0 && start + count <= total) return;
    throw new RangeError(
      `Cannot read "${name}": want a range within ${total} elements: got ${count} from ${start} on`,
    );
  }
}

type OtherFloat = "f16" | "bf16" | "f64";

function isFloat(dtype: Dtype): dtype is OtherFloat {
  return dtype === "f16" || dtype === "bf16" || dtype === "f64";
}

/** Elements of another float type as f32, into an array of as many. */
function widen(dtype: OtherFloat, buffer: ArrayBuffer, into: Float32Array<ArrayBuffer>): void {
  if (dtype === "f16") return into.set(new Float16Array(buffer));
  if (dtype === "f64") return into.set(new Float64Array(buffer));
  // bf16 is the upper half of an f32.
  const halves = new Uint16Array(buffer);
  const bits = new Uint32Array(into.buffer, into.byteOffset, into.length);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
}

/** Opens a file. @throws {CannotError} when it cannot be read, or is not whole and well formed */
export function openSafetensors(path: string, label = path): Safetensors {
  const source = fileAccess(path, label);
  try {
    return new Safetensors(source);
  } catch (error) {
    source.close();
    throw error;
  }
}

/** Reads tensors out of an array. @throws {CannotError} when it is not whole and well formed */
export function parseSafetensors(bytes: Uint8Array, label = "safetensors"): Safetensors {
  return new Safetensors(bytesAccess(bytes, label));
}

function readHeader(source: RandomAccess): {
  tensors: Map<string, TensorInfo>;
  metadata: Record<string, string>;
} {
  const refuse = (want: string, state: string): never => {
    throw new CannotError(`read ${source.label}`, want, state);
  };
  if (source.sizeBytes < 8) {
    refuse("want a header length of 8 bytes", `the file has ${source.sizeBytes} bytes`);
  }
  const lengthBytes = new Uint8Array(8);
  source.read(lengthBytes, 0);
  const headerBytes = Number(new DataView(lengthBytes.buffer).getBigUint64(0, true));
  if (headerBytes > MAX_HEADER_BYTES) {
    refuse(`want a header of at most ${MAX_HEADER_BYTES} bytes`, `its length says ${headerBytes}`);
  }
  if (8 + headerBytes > source.sizeBytes) {
    refuse(
      `want ${headerBytes} bytes of header`,
      `the file is cut off after ${source.sizeBytes - 8}`,
    );
  }
  const bytes = new Uint8Array(headerBytes);
  source.read(bytes, 8);
  const header = parseHeader(bytes, refuse);

  let metadata: Record<string, string> = {};
  const infos: TensorInfo[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name !== METADATA) {
      infos.push(readEntry(name, entry, 8 + headerBytes, refuse));
      continue;
    }
    if (!isObject(entry)) refuse("want an object in __metadata__", `it has ${show(entry)}`);
    const pairs = Object.entries(entry as object);
    const other = pairs.find(([, value]) => typeof value !== "string");
    if (other) {
      refuse("want only text in __metadata__", `${show(other[0])} is ${show(other[1])}`);
    }
    metadata = Object.fromEntries(pairs); // not by assignment: a key can be "__proto__"
  }
  checkLayout(infos, 8 + headerBytes, source.sizeBytes, refuse);
  return { tensors: new Map(infos.map((info) => [info.name, info])), metadata };
}

type Refuse = (want: string, state: string) => never;

function parseHeader(bytes: Uint8Array, refuse: Refuse): Record<string, unknown> {
  let text = "";
  let header: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    refuse("want a header in UTF-8", "it has other bytes");
  }
  if (!text.startsWith("{")) {
    refuse("want a header that starts with {", `it starts with ${show(text.slice(0, 8))}`);
  }
  try {
    header = JSON.parse(text);
  } catch (error) {
    refuse("want a header in JSON", (error as Error).message.split("\n")[0]!);
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) refuse("want each name once", `the header has ${show(twice)} twice`);
  return header as Record<string, unknown>;
}

function readEntry(name: string, entry: unknown, dataStart: number, refuse: Refuse): TensorInfo {
  const shown = show(name);
  const keys = isObject(entry) ? Object.keys(entry).sort().join(", ") : show(entry);
  if (keys !== "data_offsets, dtype, shape") {
    refuse(`want dtype, shape and data_offsets of ${shown}`, `got ${cut(keys) || "nothing"}`);
  }
  const { dtype: Name, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  const dtype = (typeof Name === "string" ? Name.toLowerCase() : "") as Dtype;
  if (!Object.hasOwn(ELEMENT_BYTES, dtype) || dtype.toUpperCase() !== Name) {
    refuse(
      `want ${shown} in one of ${Object.keys(ELEMENT_BYTES).join(" ").toUpperCase()}`,
      `its dtype is ${show(Name)}`,
    );
  }
  if (!isCounts(shape)) {
    return refuse(`want whole numbers in the shape of ${shown}`, `it is ${show(shape)}`);
  }
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
    return refuse(`want [begin, end] in the data_offsets of ${shown}`, `got ${show(offsets)}`);
  }
  const count = countOf(shape);
  const sizeBytes = count * ELEMENT_BYTES[dtype];
  if (!Number.isSafeInteger(sizeBytes)) {
    refuse(`want fewer than 2^53 bytes in ${shown}`, `its shape is ${show(shape)}`);
  }
  const [begin, end] = offsets as [number, number];
  if (sizeBytes !== end - begin) {
    refuse(
      `want ${sizeBytes} bytes for ${shown}, ${Name} of (${cut(shape.join(", "))})`,
      `its data_offsets [${begin}, ${end}] span ${end - begin}`,
    );
  }
  return { name, dtype, shape, count, offsetBytes: dataStart + begin, sizeBytes };
}

/** Elements of a shape; NaN where a product on the way is no longer exact, which others refuse. */
function countOf(shape: readonly number[]): number {
  let count = 1;
  for (const dim of shape) {
    count *= dim;
    if (!Number.isSafeInteger(count)) return NaN;
  }
  return count;
}

/**
 * Each byte of the data belongs to exactly one tensor. Leaves the tensors in their data's order.
 */
function checkLayout(
  infos: TensorInfo[],
  dataStart: number,
  fileBytes: number,
  refuse: Refuse,
): void {
  infos.sort((a, b) => a.offsetBytes - b.offsetBytes || a.sizeBytes - b.sizeBytes);
  let end = dataStart;
  let before = "the header";
  for (const { name, offsetBytes, sizeBytes } of infos) {
    const begin = `${show(name)} begins at byte ${offsetBytes - dataStart}`;
    const want = `want ${show(name)} right after ${before}, at byte ${end - dataStart} of the data`;
    if (offsetBytes < end) refuse(want, `${begin} and overlaps it`);
    if (offsetBytes > end) refuse(want, `${begin} and leaves a hole`);
    end = offsetBytes + sizeBytes;
    before = show(name);
  }
  const [want, got] = [end - dataStart, fileBytes - dataStart];
  if (got < want) refuse(`want ${want} bytes of data`, `the file is cut off after ${got}`);
  if (got > want) refuse(`want ${want} bytes of data`, `the file has ${got - want} more`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

/** A value in a message: on one line, not long, however long or deep it is. */
function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(cut(value));
  const isList = Array.isArray(value);
  if (!isList && !isObject(value)) return String(value);
  if (!isList) return "an object";
  const isFlat = value.length <= MAX_SHOWN && value.every((item) => typeof item !== "object");
  return isFlat ? cut(JSON.stringify(value)) : `a list of ${value.length}`;
}

function cut(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

/** A tensor to be written; what is known before its bytes are. */
export interface TensorSource {
  /** Unique in the file. */
  readonly name: string;
  /** Element type. */
  readonly dtype: Dtype;
  /** Empty for a scalar. */
  readonly shape: readonly number[];
  /** Row-major and little-endian, or a function that is called when their turn comes. */
  readonly bytes: ArrayBufferView | (() => ArrayBufferView | Promise<ArrayBufferView>);
}

/** Where bytes go, one piece after the other. */
export interface ByteSink {
  /** Takes all of `bytes` before it ends. */
  write(bytes: Uint8Array): void | Promise<void>;
}

/** Options of {@linkcode writeSafetensors}. */
export interface WriteOptions {
  /** The header's `__metadata__`. Most readers want `{ format: "pt" }`. @default none */
  metadata?: Readonly<Record<string, string>>;
}

/**
 * Writes tensors, those of wide elements first and then by name: the same tensors give the same
 * bytes whatever their order, and all are aligned. Only one tensor's bytes are asked for at a time.
 *
 * @throws {RangeError} when a name comes twice, a shape is no shape or the bytes do not fit it
 */
export async function writeSafetensors(
  sink: ByteSink,
  tensors: Iterable<TensorSource>,
  options: WriteOptions = {},
): Promise<void> {
  const sorted = [...tensors].sort((a, b) =>
    ELEMENT_BYTES[b.dtype] - ELEMENT_BYTES[a.dtype] || compare(a.name, b.name)
  );
  await sink.write(headerOf(sorted, options.metadata));
  for (const tensor of sorted) {
    const view = await (typeof tensor.bytes === "function" ? tensor.bytes() : tensor.bytes);
    const want = sizeOf(tensor);
    if (view.byteLength !== want) {
      throw new RangeError(
        `Cannot write "${tensor.name}": ${tensor.dtype} of (${tensor.shape.join(", ")}) ` +
          `wants ${want} bytes: got ${view.byteLength}`,
      );
    }
    await sink.write(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  }
}

/** The bytes of a whole file; for small ones. */
export async function serializeSafetensors(
  tensors: Iterable<TensorSource>,
  options: WriteOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  await writeSafetensors({ write: (bytes) => void pieces.push(bytes.slice()) }, tensors, options);
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

function headerOf(sorted: TensorSource[], metadata?: Readonly<Record<string, string>>): Uint8Array {
  // By hand: an object would move names such as "0" to the front.
  const entries: string[] = [];
  if (metadata !== undefined) {
    const pairs = Object.entries(metadata).sort(([a], [b]) => compare(a, b));
    const body = pairs.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    entries.push(`"${METADATA}":{${body.join(",")}}`);
  }
  const names = new Set([METADATA]);
  let begin = 0;
  for (const tensor of sorted) {
    const { name, dtype, shape } = tensor;
    if (names.has(name)) {
      throw new RangeError(`Cannot write tensors: names must be unique: got "${name}" again`);
    }
    names.add(name);
    const end = begin + sizeOf(tensor);
    entries.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype.toUpperCase()}","shape":[${shape.join(",")}],` +
        `"data_offsets":[${begin},${end}]}`,
    );
    begin = end;
  }
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const paddedBytes = Math.ceil(json.length / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
  const header = new Uint8Array(8 + paddedBytes).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(paddedBytes), true);
  header.set(json, 8);
  return header;
}

function sizeOf({ name, dtype, shape }: TensorSource): number {
  const sizeBytes = isCounts(shape) ? countOf(shape) * ELEMENT_BYTES[dtype] : NaN;
  if (Number.isSafeInteger(sizeBytes)) return sizeBytes;
  throw new RangeError(`Cannot write "${name}": want whole numbers in its shape: got (${shape})`);
}

/** By UTF-16 code units, the same in every locale. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

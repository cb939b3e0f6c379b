/**
 * A reader of GGUF, version 3, written from the format's description: the other side of the writer.
 *
 * @module
 */

/** A tensor of a file. */
export interface ReadTensor {
  /** Fastest index first, as in the file. */
  dims: number[];
  /** ggml's number of the element type. */
  type: number;
  /** Its data. */
  bytes: Uint8Array<ArrayBuffer>;
}

/** All of a file. */
export interface ReadGguf {
  /** Values by their keys. */
  metadata: Record<string, unknown>;
  /** By name. */
  tensors: Map<string, ReadTensor>;
}

const SIZES: Record<number, number> = { 0: 4, 1: 2, 30: 2 };

/** Parses a file, and checks that its parts are aligned and nothing is left over. */
export function readGguf(bytes: Uint8Array): ReadGguf {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  const u32 = () => view.getUint32((at += 4) - 4, true);
  const u64 = () => Number(view.getBigUint64((at += 8) - 8, true));
  const text = () => {
    const length = u64();
    at += length;
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(at - length, at));
  };
  const value = (type: number): unknown => {
    if (type === 4) return u32();
    if (type === 5) return view.getInt32((at += 4) - 4, true);
    if (type === 6) return view.getFloat32((at += 4) - 4, true);
    if (type === 7) return view.getUint8((at += 1) - 1) === 1;
    if (type === 8) return text();
    if (type !== 9) throw new Error(`value type ${type}`);
    const item = u32();
    return Array.from({ length: u64() }, () => value(item));
  };
  if (new TextDecoder().decode(bytes.subarray(0, 4)) !== "GGUF") throw new Error("no magic");
  at = 4;
  if (u32() !== 3) throw new Error("another version");
  const tensorCount = u64();
  const keyCount = u64();
  const metadata: Record<string, unknown> = {};
  for (let i = 0; i < keyCount; i++) {
    const key = text();
    metadata[key] = value(u32());
  }
  const infos = Array.from({ length: tensorCount }, () => {
    const name = text();
    const dims = Array.from({ length: u32() }, () => u64());
    return { name, dims, type: u32(), offset: u64() };
  });
  const align = (offset: number) => Math.ceil(offset / 32) * 32;
  const start = align(at);
  let end = start;
  const tensors = new Map<string, ReadTensor>();
  for (const { name, dims, type, offset } of infos) {
    if (start + offset !== end) throw new Error(`${name} begins at ${offset}`);
    const sizeBytes = dims.reduce((product, dim) => product * dim, 1) * SIZES[type]!;
    tensors.set(name, { dims, type, bytes: bytes.slice(end, end + sizeBytes) });
    end = align(end + sizeBytes);
  }
  if (end !== bytes.length) throw new Error(`${bytes.length - end} bytes after the last tensor`);
  return { metadata, tensors };
}

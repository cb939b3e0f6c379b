/**
 * A small safetensors reader for goldens: whole numbers and floats become Float64Array.
 *
 * Format: 8 bytes little-endian header length, JSON header, data
 * (https://huggingface.co/docs/safetensors).
 *
 * @module
 */

/** One tensor; I64 values must be safe integers. */
export interface GoldenTensor {
  dtype: string;
  shape: number[];
  data: Float64Array; // row-major
}

/** How to read one element of each dtype that goldens use: byte count and getter. */
const READERS: Record<string, [number, (view: DataView, offset: number) => number]> = {
  F64: [8, (view, offset) => view.getFloat64(offset, true)],
  F32: [4, (view, offset) => view.getFloat32(offset, true)],
  I64: [8, (view, offset) => safeInteger(view.getBigInt64(offset, true))],
  I32: [4, (view, offset) => view.getInt32(offset, true)],
  U32: [4, (view, offset) => view.getUint32(offset, true)],
};

function safeInteger(value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) {
    throw new RangeError(`Cannot read safetensors: want an integer below 2^53: got ${value}`);
  }
  return number;
}

/** All tensors of a safetensors file. @throws {TypeError} on a dtype that goldens do not use */
export function parseSafetensors(bytes: Uint8Array): Map<string, GoldenTensor> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerBytes = safeInteger(view.getBigInt64(0, true));
  const start = 8 + headerBytes;
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start))) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, GoldenTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const { dtype, shape, data_offsets: [begin, end] } = entry;
    const reader = READERS[dtype];
    if (reader === undefined) {
      throw new TypeError(
        `Cannot read safetensors: "${name}" must be one of ${Object.keys(READERS)}: got ${dtype}`,
      );
    }
    const [elementBytes, read] = reader;
    const count = shape.reduce((product, extent) => product * extent, 1);
    if (end - begin !== count * elementBytes || start + end > bytes.length) {
      throw new RangeError(
        `Cannot read safetensors: "${name}" (${shape}) wants ${count * elementBytes} bytes: ` +
          `got [${begin}, ${end}) of ${bytes.length - start}`,
      );
    }
    const data = new Float64Array(count);
    for (let i = 0; i < count; i++) data[i] = read(view, start + begin + i * elementBytes);
    tensors.set(name, { dtype, shape, data });
  }
  return tensors;
}

/**
 * Goldens: every tensor of a safetensors file as a Float64Array.
 *
 * @module
 */

import { parseSafetensors as parse, type Safetensors } from "../../src/run/safetensors.ts";

/** One tensor; I64 values must be safe integers. */
export interface GoldenTensor {
  dtype: string;
  shape: number[];
  data: Float64Array; // row-major
}

function elements(file: Safetensors, name: string): ArrayLike<number | bigint> {
  const { dtype } = file.info(name);
  const { buffer } = file.bytes(name);
  if (dtype === "f64") return new Float64Array(buffer);
  if (dtype === "i64") return new BigInt64Array(buffer);
  if (dtype === "i32") return new Int32Array(buffer);
  if (dtype === "u32") return new Uint32Array(buffer);
  return file.floats(name);
}

function toNumber(value: number | bigint): number {
  const number = Number(value);
  if (typeof value === "bigint" && !Number.isSafeInteger(number)) {
    throw new RangeError(`Cannot read safetensors: want an integer below 2^53: got ${value}`);
  }
  return number;
}

/** All tensors of a safetensors file. @throws {CannotError} on a dtype that goldens do not use */
export function parseSafetensors(bytes: Uint8Array): Map<string, GoldenTensor> {
  const file = parse(bytes);
  return new Map(
    Array.from(file.tensors.values(), ({ name, dtype, shape }) => {
      const data = Float64Array.from(elements(file, name), toNumber);
      return [name, { dtype: dtype.toUpperCase(), shape: [...shape], data }];
    }),
  );
}

/** All tensors of a base64 text: goldens are text imports, which need no permission. */
export function parseSafetensorsBase64(text: string): Map<string, GoldenTensor> {
  return parseSafetensors(Uint8Array.fromBase64(text));
}

/**
 * f32 to the narrower floats of checkpoints.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";

/** Float types that models are exchanged in. */
export type FloatDtype = "f32" | "f16" | "bf16";

/**
 * Elements in another float type, rounded to the nearest, ties to even.
 *
 * @param name of the tensor, for the message
 * @returns for bf16 the bits
 * @throws {CannotError} where an element is not finite, or has no finite value in that type
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { narrow } from "./narrow.ts";
 *
 * assertEquals(narrow(Float32Array.of(1, -3.14), "bf16", "w"), Uint16Array.of(0x3f80, 0xc049));
 * ```
 */
export function narrow(
  data: Float32Array<ArrayBuffer>,
  dtype: FloatDtype,
  name: string,
): Float32Array<ArrayBuffer> | Float16Array<ArrayBuffer> | Uint16Array<ArrayBuffer> {
  checkFinite(data, name);
  if (dtype === "f32") return data;
  if (dtype === "f16") {
    const halves = new Float16Array(data);
    refuseOverflow(data, name, dtype, (i) => !Number.isFinite(halves[i]!));
    return halves;
  }
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  const halves = new Uint16Array(data.length);
  // Half of the last kept place, less one unless that place is odd, then cut.
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i]!;
    halves[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  refuseOverflow(data, name, dtype, (i) => (halves[i]! & 0x7fff) === 0x7f80);
  return halves;
}

/** Checks elements. @throws {CannotError} where one is infinite or no number */
export function checkFinite(data: Float32Array, name: string): void {
  let zero = 0;
  for (let i = 0; i < data.length; i++) zero += 0 * data[i]!; // NaN once one is not finite
  if (zero === 0) return;
  const at = data.findIndex((value) => !Number.isFinite(value));
  throw new CannotError(`take "${name}"`, "want finite numbers", `element ${at} is ${data[at]}`);
}

function refuseOverflow(
  data: Float32Array,
  name: string,
  dtype: FloatDtype,
  overflows: (index: number) => boolean,
): void {
  for (let i = 0; i < data.length; i++) {
    if (!overflows(i)) continue;
    const want = `want numbers in the range of ${dtype}`;
    throw new CannotError(`write "${name}"`, want, `element ${i} is ${data[i]}`);
  }
}

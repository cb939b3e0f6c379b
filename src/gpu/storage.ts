/**
 * Numbers that are kept in f32 or, for half the memory and half of what is read, in f16. All
 * arithmetic is f32 either way, so f16 storage needs no feature of the adapter.
 *
 * @module
 */
import f16 from "../../shaders/storage_f16.wgsl" with { type: "text" };
import f32 from "../../shaders/storage_f32.wgsl" with { type: "text" };
import { defineKernel, type KernelSource } from "./kernel.ts";

/** How numbers are kept. */
export type StorageType = "f32" | "f16";

/** Bytes of one number. */
export const STORAGE_BYTES: Readonly<Record<StorageType, number>> = { f32: 4, f16: 2 };

/** The largest number of f16. */
export const MOST_F16 = 65_504;

/**
 * A kernel that reads or writes stored numbers, once for each storage: `storage.wgsl`, which it
 * includes, is `storage_f32.wgsl` or `storage_f16.wgsl`.
 */
export function defineStored(
  definition: Parameters<typeof defineKernel>[0],
): Record<StorageType, KernelSource> {
  const { label, includes } = definition;
  const define = (name: string, storage: string) =>
    defineKernel({
      ...definition,
      label: name,
      includes: { ...includes, "storage.wgsl": storage },
    });
  return { f32: define(label, f32), f16: define(`${label}_f16`, f16) };
}

/**
 * The bits of the nearest halves, of two the even one, as {@linkcode Device.write} takes them.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals([...toHalves(Float32Array.of(1, -2, 65_519)).halves], [0x3c00, 0xc000, 0x7bff]);
 * assertEquals(toHalves(Float32Array.of(1, 65_520)).tooLarge, 65_520);
 * ```
 *
 * @returns `tooLarge`: a number that is finite and beyond all halves
 */
export function toHalves(
  data: Float32Array,
): { halves: Uint16Array<ArrayBuffer>; tooLarge: number | undefined } {
  const rounded = new Float16Array(data);
  let tooLarge: number | undefined;
  for (let i = 0; i < rounded.length; i++) {
    if (Math.abs(rounded[i]!) === Infinity && Math.abs(data[i]!) < Infinity) tooLarge ??= data[i]!;
  }
  return { halves: new Uint16Array(rounded.buffer), tooLarge };
}

/** The numbers of halves. */
export function fromHalves(halves: ArrayBuffer): Float32Array<ArrayBuffer> {
  return new Float32Array(new Float16Array(halves));
}

/**
 * How element-wise kernels cover a tensor.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { grid } from "../gpu/binding.ts";
import type { Tensor } from "../gpu/tensor.ts";

/** Threads of a workgroup in the element-wise shaders, their `WG_SIZE`. */
const WG_SIZE = 64;

/** Workgroups, and the parameters that all element-wise shaders start with. */
export interface Cover {
  /** Workgroups in x, y and z. */
  groups: [number, number, number];
  /** Vectors of 4 (the last may reach into a tensor's padding), and how many each thread takes. */
  params: { vectors: number; per_thread: number };
}

/** Cover `count` elements. */
export function cover(device: Device, count: number): Cover {
  // A software adapter pays for each workgroup, a GPU wants many of them.
  const per_thread = device.lanes >= 32 ? 2 : 16;
  const vectors = Math.ceil(count / 4);
  return {
    groups: grid(Math.ceil(vectors / (WG_SIZE * per_thread))),
    params: { vectors, per_thread },
  };
}

/**
 * Asserts that b has the shape of a.
 *
 * @throws {RangeError} When two tensors differ in shape.
 */
export function assertSameShape(op: string, a: Tensor, b: Tensor): void {
  if (a.shape.length === b.shape.length && a.shape.every((dim, axis) => dim === b.shape[axis])) {
    return;
  }
  throw new RangeError(
    `Cannot record ${op}: "${b.label}" must be of the shape (${a.shape.join(", ")}) of ` +
      `"${a.label}": got (${b.shape.join(", ")})`,
  );
}

/**
 * Small blocks of scalars that change between submissions.
 *
 * @module
 */
import type { Device } from "./device.ts";
import type { Tensor } from "./tensor.ts";

const USAGE = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST |
  GPUBufferUsage.UNIFORM;

/** Scalars in a uniform buffer: fields in order, four bytes each, as the WGSL struct has them. */
export class Uniforms<F extends Readonly<Record<string, "u32" | "f32">>> {
  /** Bound with `uniform(…)`. */
  readonly tensor: Tensor;
  readonly #device: Device;
  readonly #fields: F;
  readonly #bytes: DataView<ArrayBuffer>;

  /** A uniform buffer of these fields, padded to whole 16 bytes. */
  constructor(device: Device, label: string, fields: F) {
    this.#device = device;
    this.#fields = fields;
    const words = Math.ceil(Object.keys(fields).length / 4) * 4;
    this.#bytes = new DataView(new ArrayBuffer(words * 4));
    this.tensor = device.tensor(label, [words], "u32", USAGE);
  }

  /** Changes the named values; the others stay. Takes effect before the next submission. */
  set(values: Partial<Record<keyof F, number>>): void {
    for (const name of Object.keys(values)) {
      if (!(name in this.#fields)) {
        const known = Object.keys(this.#fields).join(", ");
        throw new RangeError(`Cannot set "${this.tensor.label}": one of ${known}: got "${name}"`);
      }
    }
    Object.entries(this.#fields).forEach(([name, type], index) => {
      const value = values[name];
      if (value !== undefined) writeScalar(this.#bytes, index * 4, type, value, name);
    });
    this.#device.write(this.tensor, new Uint32Array(this.#bytes.buffer));
  }

  /** Gives the buffer back. */
  destroy(): void {
    this.tensor.destroy();
  }
}

/**
 * Writes one 32-bit scalar, little-endian.
 *
 * @throws {RangeError} When the value is not of the type.
 */
export function writeScalar(
  bytes: DataView,
  at: number,
  type: "u32" | "i32" | "f32",
  value: number,
  name: string,
): void {
  if (type === "f32") return bytes.setFloat32(at, value, true);
  const [least, most] = type === "u32" ? [0, 0xffff_ffff] : [-0x8000_0000, 0x7fff_ffff];
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`Cannot set "${name}": a ${type}: got ${value}`);
  }
  if (type === "u32") bytes.setUint32(at, value, true);
  else bytes.setInt32(at, value, true);
}

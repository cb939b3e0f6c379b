/**
 * The activation pool: buffers that plans share when they never run at the same time.
 *
 * @module
 */
import type { Device } from "./device.ts";
import { makeTexture } from "./texture.ts";

/** Buffers for the activations of any number of plans; the largest plan decides the memory. */
export class ActivationPool {
  readonly #device: Device;
  readonly #buffers: GPUBuffer[] = [];
  readonly #textures: GPUTexture[] = [];

  /** An empty pool. */
  constructor(device: Device) {
    this.#device = device;
  }

  /** Bytes held. */
  get sizeBytes(): number {
    const textures = this.#textures.reduce(
      (sum, { width, height }) => sum + 16 * width * height,
      0,
    );
    return this.#buffers.reduce((sum, { size }) => sum + size, textures);
  }

  /**
   * One buffer for each wanted size, existing ones first.
   *
   * @throws {RangeError} When a size is above what the adapter can bind.
   */
  take(slotBytes: readonly number[]): GPUBuffer[] {
    const most = this.#device.limits.maxStorageBufferBindingSize;
    const over = slotBytes.find((size) => size > most);
    if (over !== undefined) {
      throw new RangeError(
        `Cannot place an activation: at most ${most} bytes (maxStorageBufferBindingSize): ` +
          `got ${over}; use fewer rows a step`,
      );
    }
    const free = new Set(this.#buffers);
    const taken: GPUBuffer[] = new Array(slotBytes.length);
    // The largest first, each the tightest buffer that holds it, so that few are made.
    const order = slotBytes.map((_, slot) => slot).sort((a, b) => slotBytes[b]! - slotBytes[a]!);
    for (const slot of order) {
      let best: GPUBuffer | undefined;
      for (const buffer of free) {
        if (buffer.size >= slotBytes[slot]! && (!best || buffer.size < best.size)) best = buffer;
      }
      if (best) free.delete(best);
      else {
        best = this.#device.buffer("activations", slotBytes[slot]!);
        this.#buffers.push(best);
      }
      taken[slot] = best;
    }
    return taken;
  }

  /** One texture for each wanted number of rows, existing ones first, as {@linkcode take}. */
  takeTextures(slotRows: readonly number[]): GPUTexture[] {
    const free = this.#textures.toSorted((a, b) => a.height - b.height);
    const taken: GPUTexture[] = new Array(slotRows.length);
    const order = slotRows.map((_, slot) => slot).sort((a, b) => slotRows[b]! - slotRows[a]!);
    for (const slot of order) {
      const found = free.findIndex(({ height }) => height >= slotRows[slot]!);
      if (found >= 0) taken[slot] = free.splice(found, 1)[0]!;
      else this.#textures.push(taken[slot] = makeTexture(this.#device, slotRows[slot]!));
    }
    return taken;
  }

  /** Gives everything back; plans that use the pool must be gone. */
  destroy(): void {
    for (const texture of this.#textures.splice(0)) this.#device.destroyTexture(texture);
    for (const buffer of this.#buffers.splice(0)) this.#device.destroyBuffer(buffer);
  }
}

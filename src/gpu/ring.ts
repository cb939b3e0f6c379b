/**
 * The readback ring: values leave the GPU late, so that no step waits for them.
 *
 * `mapAsync` takes at least 10 ms and blocks JavaScript while the GPU is busy; maps that overlap
 * cost little. A step copies what it wants read into a slot and goes on; the values are taken two
 * or more steps later.
 *
 * @module
 */
import type { Device } from "./device.ts";
import type { Tensor } from "./tensor.ts";

interface Slot<Tag> {
  readonly staging: GPUBuffer;
  tag: Tag | undefined;
  readonly ranges: { dtype: string; atBytes: number; sizeBytes: number }[];
  state: "free" | "recorded" | "mapping" | "mapped";
  mapped: Promise<void> | undefined;
}

/** Values that arrived, in the order in which they were recorded. */
export interface Arrival<Tag> {
  /** What it was recorded with. */
  readonly tag: Tag;
  /** One array for each tensor that was recorded. */
  readonly values: (Float32Array | Uint32Array)[];
}

/** A fixed number of staging buffers, used in turn. */
export class ReadbackRing<Tag> {
  readonly #device: Device;
  readonly #slots: Slot<Tag>[];
  readonly #slotBytes: number;
  #head = 0; // the next slot to record into
  #tail = 0; // the oldest slot not taken yet
  #held = 0;
  #failure: unknown;

  /**
   * A ring with all slots free.
   *
   * @param options `slots` maps may be under way at once, each of up to `slotBytes`.
   */
  constructor(device: Device, options: { slots?: number; slotBytes?: number } = {}) {
    const { slots = 16, slotBytes = 4096 } = options;
    this.#device = device;
    this.#slotBytes = slotBytes;
    this.#slots = Array.from({ length: slots }, () => ({
      staging: device.buffer(
        "readback",
        slotBytes,
        GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      ),
      tag: undefined,
      ranges: [],
      state: "free" as const,
      mapped: undefined,
    }));
  }

  /** Whether every slot is in use: then {@linkcode next} must be awaited before recording. */
  get full(): boolean {
    return this.#held === this.#slots.length;
  }

  /**
   * Appends copies of some tensors to an encoder, after the work that makes them.
   *
   * @throws {RangeError} When the ring is full or the tensors exceed a slot.
   */
  record(encoder: GPUCommandEncoder, tensors: readonly Tensor[], tag: Tag): void {
    if (this.full) {
      throw new RangeError(
        `Cannot record a readback: a free slot: all ${this.#slots.length} are in use`,
      );
    }
    const sizes = tensors.map((tensor) => Math.ceil(tensor.sizeBytes / 4) * 4);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    if (total > this.#slotBytes) {
      throw new RangeError(
        `Cannot record a readback: at most ${this.#slotBytes} bytes a slot: got ${total}`,
      );
    }
    const slot = this.#slots[this.#head]!;
    slot.ranges.length = 0;
    let atBytes = 0;
    tensors.forEach((tensor, index) => {
      const { buffer, offsetBytes } = tensor.storage;
      encoder.copyBufferToBuffer(buffer, offsetBytes, slot.staging, atBytes, sizes[index]!);
      slot.ranges.push({ dtype: tensor.dtype, atBytes, sizeBytes: tensor.sizeBytes });
      atBytes += sizes[index]!;
    });
    slot.tag = tag;
    slot.state = "recorded";
    this.#head = (this.#head + 1) % this.#slots.length;
    this.#held++;
  }

  /** Starts mapping what was recorded. Call it once the encoder is submitted; awaits nothing. */
  submitted(): void {
    for (const slot of this.#slots) {
      if (slot.state !== "recorded") continue;
      slot.state = "mapping";
      slot.mapped = slot.staging.mapAsync(GPUMapMode.READ).then(
        () => {
          slot.state = "mapped";
        },
        (error) => {
          this.#failure ??= error;
        },
      );
    }
  }

  /** What has arrived, oldest first, without waiting. */
  take(): Arrival<Tag>[] {
    this.#assertWorking();
    const arrivals: Arrival<Tag>[] = [];
    while (this.#held > 0 && this.#slots[this.#tail]!.state === "mapped") {
      arrivals.push(this.#unmap(this.#slots[this.#tail]!));
    }
    return arrivals;
  }

  /** Waits for the oldest value, undefined when none is under way. */
  async next(): Promise<Arrival<Tag> | undefined> {
    if (this.#held === 0) return undefined;
    const slot = this.#slots[this.#tail]!;
    await slot.mapped;
    this.#assertWorking();
    if (slot.state !== "mapped") {
      throw new Error("Cannot read back: a submitted copy: submitted() was not called");
    }
    return this.#unmap(slot);
  }

  /** Waits for all that is under way. */
  async drain(): Promise<Arrival<Tag>[]> {
    const arrivals: Arrival<Tag>[] = [];
    for (let next = await this.next(); next; next = await this.next()) arrivals.push(next);
    return arrivals;
  }

  /** Gives the buffers back. */
  destroy(): void {
    for (const { staging } of this.#slots.splice(0)) this.#device.destroyBuffer(staging);
    this.#held = 0;
  }

  #unmap(slot: Slot<Tag>): Arrival<Tag> {
    const bytes = slot.staging.getMappedRange();
    const values = slot.ranges.map(({ dtype, atBytes, sizeBytes }) => {
      const copy = bytes.slice(atBytes, atBytes + sizeBytes);
      return dtype === "f32" ? new Float32Array(copy) : new Uint32Array(copy);
    });
    slot.staging.unmap();
    slot.state = "free";
    this.#tail = (this.#tail + 1) % this.#slots.length;
    this.#held--;
    return { tag: slot.tag as Tag, values };
  }

  #assertWorking(): void {
    this.#device.check("read back");
    if (this.#failure) throw this.#failure;
  }
}

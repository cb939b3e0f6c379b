/**
 * Copies of tensors in textures. Where a shader declares a binding as a texture, the plan copies
 * the tensor before the dispatch; a copy serves the dispatches that follow until the tensor is
 * written.
 *
 * Debian's software driver reads a texture three to five times as fast as a buffer, and copies
 * fast, so that whatever is read often is worth a copy there. On a GPU a buffer is as good.
 *
 * @module
 */
import type { Device } from "./device.ts";
import type { Interval } from "./liveness.ts";
import type { Tensor } from "./tensor.ts";

/** Texels of a row; rows lie one after the other, as in shaders/factors_texture.wgsl. */
const WIDTH = 4096;
const TEXEL_BYTES = 16; // four f32
const ROW_BYTES = WIDTH * TEXEL_BYTES;
/** Items of a plan after which a tensor is copied anew, as textures that wait hold memory. */
const REUSE_ITEMS = 12;

/** A recorded copy of a tensor into a texture, and how long it is read. */
export interface TextureCopy {
  /** Tells it from a dispatch and a clear. */
  readonly kind: "copy";
  /** What is copied. */
  readonly tensor: Tensor;
  /** Index of the last item of the plan that reads the copy. */
  last: number;
  /** Found when the plan is sealed; may have more rows than are used. */
  texture?: GPUTexture;
}

/** Whether to read from textures what is read often: on a processor, with lanes to share it. */
export function prefersTextures({ lanes, tuning }: Device): boolean {
  return tuning === "processor" && lanes > 0;
}

/** Rows of a texture that holds so many bytes. */
export function textureRows(sizeBytes: number): number {
  return Math.ceil(sizeBytes / ROW_BYTES);
}

/** Whether a texture of this device can hold a tensor of so many f32. */
export function fitsTexture(device: Device, count: number): boolean {
  return textureRows(4 * count) <= device.limits.maxTextureDimension2D;
}

/** A texture of whole rows, to be copied to and to be read by shaders. */
export function makeTexture(device: Device, rows: number): GPUTexture {
  return device.texture({
    label: "copies",
    size: [WIDTH, rows],
    format: "rgba32float",
    usage: GPUTextureUsage.STORAGE_BINDING | GPUTextureUsage.COPY_DST,
  });
}

/** Which tensors a plan has copied, and may read from the copy. */
export class TextureCopies {
  readonly #valid = new Map<Tensor, TextureCopy>();
  readonly #all: { copy: TextureCopy; first: number }[] = [];

  /**
   * The copies of tensors that items from `index` on read; `made` are those to be recorded there.
   */
  use(
    tensors: readonly Tensor[],
    index: number,
  ): { copies: ReadonlyMap<Tensor, TextureCopy>; made: TextureCopy[] } {
    const copies = new Map<Tensor, TextureCopy>();
    const made: TextureCopy[] = [];
    for (const tensor of new Set(tensors)) {
      const known = this.#valid.get(tensor);
      const copy: TextureCopy = known && known.last + REUSE_ITEMS >= index
        ? known
        : { kind: "copy", tensor, last: index };
      if (copy !== known) {
        this.#all.push({ copy, first: index + made.length });
        made.push(copy);
        this.#valid.set(tensor, copy);
      }
      copies.set(tensor, copy);
    }
    // The reader comes after the copies that are made for it.
    for (const copy of copies.values()) copy.last = index + made.length;
    return { copies, made };
  }

  /** Forgets the copies of what is written, and of all that shares its storage. */
  written({ root }: Tensor): void {
    for (const tensor of this.#valid.keys()) {
      if (tensor.root === root) this.#valid.delete(tensor);
    }
  }

  /** When each copy is needed, in the order of {@linkcode TextureCopies.place}. */
  intervals(): Interval[] {
    return this.#all.map(({ copy, first }) => ({
      sizeBytes: textureRows(copy.tensor.sizeBytes) * ROW_BYTES,
      first,
      last: copy.last,
    }));
  }

  /** Gives each copy its texture. */
  place(textureOf: (index: number) => GPUTexture): void {
    this.#all.forEach(({ copy }, index) => copy.texture = textureOf(index));
  }
}

/** Rows of a slot of {@linkcode TextureCopies.intervals}. */
export function slotRows(slotBytes: number): number {
  return slotBytes / ROW_BYTES;
}

/** Appends a copy whose texture is there. */
export function encodeCopy(encoder: GPUCommandEncoder, { tensor, texture }: TextureCopy): void {
  const { buffer, offsetBytes } = tensor.storage;
  const wholeRows = Math.floor(tensor.sizeBytes / ROW_BYTES);
  const rest = Math.ceil((tensor.sizeBytes % ROW_BYTES) / TEXEL_BYTES); // buffers are padded to 16
  if (wholeRows > 0) {
    encoder.copyBufferToTexture(
      { buffer, offset: offsetBytes, bytesPerRow: ROW_BYTES },
      { texture: texture! },
      [WIDTH, wholeRows],
    );
  }
  if (rest > 0) {
    encoder.copyBufferToTexture(
      { buffer, offset: offsetBytes + wholeRows * ROW_BYTES },
      { texture: texture!, origin: [0, wholeRows] },
      [rest, 1],
    );
  }
}

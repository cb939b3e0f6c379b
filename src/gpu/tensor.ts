/**
 * Tensors: a label, a shape, an element type, and storage that exists, does not exist yet (an
 * activation of a plan that is still being recorded) or exists no more.
 *
 * @module
 */
import type { DType } from "./kernel.ts";

/** Alignment of every binding offset, in bytes; the default of both WebGPU limits. */
export const ALIGNMENT_BYTES = 256;

const ELEMENT_BYTES: Readonly<Record<DType, number>> = { f32: 4, u32: 4, f16: 2 };

/** Where a tensor's elements are. */
export interface Storage {
  /** The buffer that holds them. */
  readonly buffer: GPUBuffer;
  /** Of the first element in it. */
  readonly offsetBytes: number;
}

/**
 * Number of elements of a shape.
 *
 * @throws {RangeError} When a dimension is no whole number of 1 or more.
 */
export function elementCount(label: string, shape: readonly number[]): number {
  if (shape.some((dim) => !Number.isInteger(dim) || dim < 1)) {
    throw new RangeError(
      `Cannot make tensor "${label}": dimensions of 1 or more: got (${shape.join(", ")})`,
    );
  }
  return shape.reduce((product, dim) => product * dim, 1);
}

/** A dense row-major array on the GPU, last index fastest. */
export class Tensor {
  /** Names the tensor in messages. */
  readonly label: string;
  /** Dimensions, last index fastest. */
  readonly shape: readonly number[];
  /** Type of each element. */
  readonly dtype: DType;
  /** Number of elements. */
  readonly count: number;
  /** The tensor whose storage this one shares, itself for all but views. */
  readonly root: Tensor;
  #offsetBytes: number;
  #storage: Storage | undefined;
  #release: (() => void) | undefined;
  #destroyed = false;

  /** Made by {@linkcode Device.tensor}, {@linkcode Arena} and {@linkcode Plan.activation}. */
  constructor(
    label: string,
    shape: readonly number[],
    dtype: DType,
    options: {
      storage?: Storage;
      release?: () => void;
      view?: { of: Tensor; offsetBytes: number };
    } = {},
  ) {
    this.count = elementCount(label, shape);
    this.label = label;
    this.shape = shape;
    this.dtype = dtype;
    this.#storage = options.storage;
    this.#release = options.release;
    this.root = options.view?.of.root ?? this;
    this.#offsetBytes = options.view?.offsetBytes ?? 0;
  }

  /** Bytes of all elements, without padding. */
  get sizeBytes(): number {
    return this.count * ELEMENT_BYTES[this.dtype];
  }

  /** Whether storage has been assigned. */
  get placed(): boolean {
    return this.root.#storage !== undefined;
  }

  /** Whether the storage was given back. */
  get destroyed(): boolean {
    return this.root.#destroyed;
  }

  /**
   * Buffer and offset.
   *
   * @throws {Error} When the tensor is released, or is an activation of a plan not sealed yet.
   */
  get storage(): Storage {
    this.assertLive("use");
    const storage = this.root.#storage;
    if (!storage) {
      throw new Error(`Cannot use tensor "${this.label}": storage: its plan is not sealed yet`);
    }
    return this.root === this
      ? storage
      : { buffer: storage.buffer, offsetBytes: storage.offsetBytes + this.#offsetBytes };
  }

  /**
   * Throws unless the tensor is live.
   *
   * @throws {Error} When the tensor has been released.
   */
  assertLive(act: string): void {
    if (this.destroyed) {
      throw new Error(`Cannot ${act} tensor "${this.label}": a live tensor: it was released`);
    }
  }

  /**
   * The same elements, or a run of them, under another shape.
   *
   * @throws {RangeError} When the view does not fit or its offset is not aligned to 256 bytes.
   */
  view(label: string, shape: readonly number[], elementOffset = 0): Tensor {
    const offsetBytes = elementOffset * ELEMENT_BYTES[this.dtype];
    const view = new Tensor(label, shape, this.dtype, {
      view: { of: this, offsetBytes: this.#offsetBytes + offsetBytes },
    });
    if (elementOffset < 0 || elementOffset + view.count > this.count) {
      throw new RangeError(
        `Cannot view "${this.label}" as "${label}": at most ${this.count} elements: ` +
          `got ${elementOffset} + ${view.count}`,
      );
    }
    if (offsetBytes % ALIGNMENT_BYTES !== 0) {
      throw new RangeError(
        `Cannot view "${this.label}" as "${label}": an offset of whole ${ALIGNMENT_BYTES} bytes: ` +
          `got ${offsetBytes}`,
      );
    }
    return view;
  }

  /** Gives storage to a tensor made without; for the plan that owns it. */
  place(storage: Storage): void {
    this.#storage = storage;
  }

  /** Gives the storage back. Views end with their root. Releasing twice does nothing. */
  destroy(): void {
    if (this.root !== this || this.#destroyed) return;
    this.#destroyed = true;
    this.#storage = undefined;
    this.#release?.();
  }
}

/** A weight and the gradient that adds up beside it; without `grad` the weight is frozen. */
export interface Parameter {
  /** The weight. */
  readonly value: Tensor;
  /** Of the shape of value; backward adds to it. */
  readonly grad?: Tensor | undefined;
}

/** Rows `rowStart` to `rowStart + rows` of a parameter: value and grad are (rows, C). */
export interface RowWindow extends Parameter {
  /** First row. */
  readonly rowStart: number;
  /** Number of rows. */
  readonly rows: number;
}

/** A matrix in windows of whole rows, each small enough for one binding. */
export interface ShardedParameter {
  /** (rows, columns) of the whole. */
  readonly shape: readonly [number, number];
  /** Windows in order of rows, covering all. */
  readonly windows: readonly RowWindow[];
}

/** A parameter of one window, seen as a sharded one. */
export function sharded(parameter: Parameter): ShardedParameter {
  const [rows, columns] = parameter.value.shape as [number, number];
  return { shape: [rows, columns], windows: [{ ...parameter, rowStart: 0, rows }] };
}

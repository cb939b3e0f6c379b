/**
 * Arenas: many tensors in few buffers, so that the optimiser needs one dispatch a buffer and the
 * gradients one clear. Parameters, gradients and the two moments share one layout.
 *
 * @module
 */
import type { Device } from "./device.ts";
import { STORAGE_BYTES, type StorageType } from "./storage.ts";
import { ALIGNMENT_BYTES, type RowWindow, type ShardedParameter, Tensor } from "./tensor.ts";

/** A tensor to be laid out. */
export interface ArenaEntry {
  /** Unique in a layout. */
  readonly name: string;
  /** Rows first; a tensor too large for one buffer is cut between rows. */
  readonly shape: readonly number[];
  /** Whether weight decay applies. */
  readonly decay: boolean;
  /** How its numbers are kept; those of f16 are in buffers of their own. @default "f32" */
  readonly dtype?: StorageType;
}

/** Where whole rows of a tensor are: `shape` is (rows, …), `offset` and `count` are in elements. */
export interface ArenaWindow {
  /** Of the tensor, see {@linkcode ArenaEntry}. */
  readonly name: string;
  /** First of the tensor's rows that is here. */
  readonly rowStart: number;
  /** (rows, …), whole rows. */
  readonly shape: readonly number[];
  /** Index of the buffer that it is in. */
  readonly buffer: number;
  /** Of its first element in the buffer. */
  readonly offset: number;
  /** Number of elements, padding not counted. */
  readonly count: number;
}

/** Elements of a buffer; those before `decayed` belong to tensors with weight decay. */
export interface ArenaBuffer {
  /** Elements, padding counted. */
  readonly count: number;
  /** Elements before this one are decayed. */
  readonly decayed: number;
  /** How all of them are kept. */
  readonly dtype: StorageType;
}

/** The layout that several arenas share. */
export interface ArenaLayout {
  /** Sizes of the buffers. */
  readonly buffers: readonly ArenaBuffer[];
  /** The windows, tensors with weight decay first. */
  readonly windows: readonly ArenaWindow[];
}

/**
 * Windows of many rows have a multiple of this. Their rows are columns of the logits, and the fast
 * products want those to begin and end at whole vectors.
 */
const WINDOW_ROWS = 64;

/**
 * Lays tensors out: those of f16 first, then decayed ones, each at an aligned offset, none across a
 * buffer's end. A tensor larger than a buffer is split into windows of whole rows.
 *
 * @param bufferBytes The most that one binding takes (`maxStorageBufferBindingSize`).
 * @throws {RangeError} When a name comes twice or a single row exceeds a buffer.
 */
export function layoutArena(entries: readonly ArenaEntry[], bufferBytes: number): ArenaLayout {
  const mostOf = (dtype: StorageType) =>
    Math.floor(bufferBytes / ALIGNMENT_BYTES) * (ALIGNMENT_BYTES / STORAGE_BYTES[dtype]);
  const names = new Set<string>();
  const buffers: { count: number; decayed: number; dtype: StorageType }[] = [];
  const windows: ArenaWindow[] = [];
  const place = (
    name: string,
    rowStart: number,
    shape: readonly number[],
    count: number,
    { decay, dtype = "f32" }: ArenaEntry,
  ) => {
    const alignment = ALIGNMENT_BYTES / STORAGE_BYTES[dtype];
    const padded = Math.ceil(count / alignment) * alignment;
    // Only the last buffer is open; order decides everything, so the layout never changes.
    let buffer = buffers.at(-1);
    if (buffer?.dtype !== dtype || buffer.count + padded > mostOf(dtype)) {
      buffers.push(buffer = { count: 0, decayed: 0, dtype });
    }
    const offset = buffer.count;
    buffer.count += padded;
    if (decay) buffer.decayed = buffer.count;
    windows.push({ name, rowStart, shape, buffer: buffers.length - 1, offset, count });
  };
  const isHalf = ({ dtype }: ArenaEntry) => dtype === "f16";
  const sorted = [...entries].sort((a, b) => +isHalf(b) - +isHalf(a) || +b.decay - +a.decay);
  for (const entry of sorted) {
    const { name, shape, dtype = "f32" } = entry;
    const most = mostOf(dtype);
    if (names.has(name)) throw new RangeError(`Cannot lay out "${name}": distinct names: twice`);
    names.add(name);
    const count = shape.reduce((product, dim) => product * dim, 1);
    const rows = shape[0] ?? 1;
    const rowCount = count / rows;
    if (count <= most) {
      place(name, 0, shape, count, entry);
      continue;
    }
    const fitting = Math.floor(most / rowCount);
    const rowsEach = fitting > WINDOW_ROWS ? fitting - fitting % WINDOW_ROWS : fitting;
    if (rowsEach < 1) {
      throw new RangeError(
        `Cannot lay out "${name}" (${shape.join(", ")}): a row within ${bufferBytes} bytes: ` +
          `a row has ${rowCount * STORAGE_BYTES[dtype]}`,
      );
    }
    for (let rowStart = 0; rowStart < rows; rowStart += rowsEach) {
      const here = Math.min(rowsEach, rows - rowStart);
      place(name, rowStart, [here, ...shape.slice(1)], here * rowCount, entry);
    }
  }
  return { buffers, windows };
}

/** The buffers of one layout. */
export class Arena {
  /** Prefix of the names of its tensors. */
  readonly label: string;
  /** Where each tensor is. */
  readonly layout: ArenaLayout;
  /** Each buffer whole, flat: (count). */
  readonly buffers: readonly Tensor[];
  readonly #windows = new Map<string, Tensor[]>();

  /** Makes the buffers, zeroed. */
  constructor(device: Device, label: string, layout: ArenaLayout) {
    this.label = label;
    this.layout = layout;
    this.buffers = layout.buffers.map(({ count, dtype }, index) =>
      device.tensor(`${label}[${index}]`, [count], dtype)
    );
    for (const { name, shape, buffer, offset } of layout.windows) {
      const tensor = this.buffers[buffer]!.view(`${label}.${name}`, shape, offset);
      this.#windows.set(name, [...this.#windows.get(name) ?? [], tensor]);
    }
  }

  /**
   * The windows of a tensor, by rows; one unless it exceeds a binding.
   *
   * @throws {RangeError} When the layout has no such tensor.
   */
  windows(name: string): readonly Tensor[] {
    const windows = this.#windows.get(name);
    if (windows) return windows;
    throw new RangeError(`Cannot find "${name}" in arena "${this.label}": a tensor of its layout`);
  }

  /**
   * A tensor of one window.
   *
   * @throws {RangeError} When it is unknown or split.
   */
  tensor(name: string): Tensor {
    const windows = this.windows(name);
    if (windows.length === 1) return windows[0]!;
    throw new RangeError(
      `Cannot use "${name}" of arena "${this.label}": one window: it is split into ${windows.length}`,
    );
  }

  /** Gives the buffers back. */
  destroy(): void {
    for (const buffer of this.buffers) buffer.destroy();
  }
}

/** A parameter over two arenas of one layout; without gradients it is frozen. */
export function parameter(
  name: string,
  values: Arena,
  grads?: Arena,
): { value: Tensor; grad?: Tensor } {
  const value = values.tensor(name);
  return grads ? { value, grad: grads.tensor(name) } : { value };
}

/** A matrix parameter in its windows, see {@linkcode ShardedParameter}. */
export function shardedParameter(name: string, values: Arena, grads?: Arena): ShardedParameter {
  let rowStart = 0;
  const windows: RowWindow[] = values.windows(name).map((value, index) => {
    const rows = value.shape[0]!;
    const window = {
      value,
      rowStart,
      rows,
      ...(grads ? { grad: grads.windows(name)[index]! } : {}),
    };
    rowStart += rows;
    return window;
  });
  return { shape: [rowStart, windows[0]!.value.shape[1]!], windows };
}

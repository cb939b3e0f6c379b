/**
 * Causal self-attention of new tokens against a cache of keys and values, dense or locally banded.
 *
 * The cache of a layer is a pool of blocks of {@linkcode BLOCK_TOKENS} slots; a table says which
 * block holds which positions of a sequence, so that sequences grow, share and free blocks without
 * a copy. Alone or in a chunk, a row has the same bits; they are those of attention(), too, but for
 * a GPU's tiles, which sum in an order of their own. A cache of f16 rounds keys and values, those
 * of the rows themselves too, so that neither chunks nor what is cached change a bit there, either.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { defineStored, STORAGE_BYTES, type StorageType } from "../gpu/storage.ts";
import { grid, read, readWrite, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import portableSource from "../../shaders/attention_cached_portable.wgsl" with { type: "text" };
import rowsSource from "../../shaders/attention_cached_rows.wgsl" with { type: "text" };
import tileSource from "../../shaders/attention_cached.wgsl" with { type: "text" };
import writeSource from "../../shaders/cache_write.wgsl" with { type: "text" };
import { usesSubgroups } from "./attention.ts";

const define = (label: string, source: string) =>
  defineStored({ label, source, file: `shaders/${label}.wgsl` });

const TILE = define("attention_cached", tileSource);
const ROWS = define("attention_cached_rows", rowsSource);
const PORTABLE = define("attention_cached_portable", portableSource);
const WRITE = define("cache_write", writeSource);

/** Largest head, bounded by the workgroup memory of the kernel without subgroups. */
const MOST_HEAD_SIZE = 256;

/** Tokens of a block of the cache; the shaders' BLOCK. */
export const BLOCK_TOKENS = 16;

/** The position of a row that is not there: it is not cached, and its attention is 0. */
export const DEAD_ROW = 0xffff_ffff;

/**
 * Keys and values of one layer, in blocks of {@linkcode BLOCK_TOKENS} slots; both f32, or both f16
 * where C is even. Halves are the nearest, at most 65,504 in size.
 */
export interface CacheLayer {
  /** (slots, C). */
  readonly keys: Tensor;
  /** (slots, C). */
  readonly values: Tensor;
}

/** Whose the rows of a replay are, and where their keys and values are; all u32. */
export interface CachedRows {
  /** Position of each row in its sequence, or {@linkcode DEAD_ROW}. */
  readonly positions: Tensor; // (N)
  /** Row of the table that each row's sequence has. */
  readonly sequences: Tensor; // (N)
  /** Block of each {@linkcode BLOCK_TOKENS} positions of a sequence. */
  readonly table: Tensor; // (S, blocks of the longest sequence)
  /** Whether all rows are successive positions of one sequence, dead ones last. */
  readonly chunk: boolean;
}

/** Options of {@linkcode attentionCached}. */
export interface AttentionCachedOptions extends CachedRows {
  /** Number of heads; C must be a multiple. */
  heads: number;
  /** The token at position t sees those at t - band < j <= t; 0 is dense. @default 0 */
  band?: number;
  /** Threads a workgroup of the kernel without subgroups, a power of two. @default 64 */
  workgroupSize?: number;
}

/**
 * Record the rows' keys and values into the cache, then their attention against it:
 * qkv (N, 3 C) → out (N, C), with C = heads · HS. No gradient.
 *
 * Every position that a row sees has to be in the cache or among the rows, in blocks that the table
 * names; no position may be twice among the rows.
 *
 * @param qkv (…, 3 C), N rows
 * @returns (…, C)
 * @throws {RangeError} When a shape or option does not fit.
 */
export function attentionCached(
  plan: Plan,
  qkv: Tensor,
  cache: CacheLayer,
  options: AttentionCachedOptions,
): Tensor {
  const { device } = plan;
  const { positions, sequences, table, chunk, heads: NH, band = 0, workgroupSize = 64 } = options;
  const { N, C, HS, storage } = checkShapes(qkv, cache, options);
  const columns = table.shape[1]!;
  const place = [read(positions), read(sequences), read(table)];

  const words = C * STORAGE_BYTES[storage] / 4; // of a key
  plan.dispatch(device.kernel(WRITE[storage], {}, { WG_SIZE: 64 }), {
    groups: [Math.ceil(words / 64), N],
    params: { N, C, columns, slots: cache.keys.shape[0]! },
    bindings: [read(qkv), ...place, readWrite(cache.keys), readWrite(cache.values)],
    work: { bytes: 2 * N * (4 * C + 4 * words) },
  });
  const out = plan.activation("out", [...qkv.shape.slice(0, -1), C]);
  const bindings = [read(qkv), ...place, read(cache.keys), read(cache.values), write(out)];
  const { kernel, groups } = choose(device, { N, NH, HS, chunk, workgroupSize, storage });
  const params: Record<string, number> = {
    N,
    NH,
    HS,
    band,
    columns,
    scale: 1 / Math.sqrt(HS),
    pad0: 0,
    pad1: 0,
    pad2: 0,
  };
  // How much of the cache is read is known only when it runs.
  plan.dispatch(kernel, {
    groups,
    params: Object.fromEntries(kernel.source.params.map(({ name }) => [name, params[name]!])),
    bindings,
    work: { bytes: qkv.sizeBytes + out.sizeBytes },
  });
  return out;
}

function choose(
  device: Device,
  { N, NH, HS, chunk, workgroupSize, storage }: {
    N: number;
    NH: number;
    HS: number;
    chunk: boolean;
    workgroupSize: number;
    storage: StorageType;
  },
) {
  if (!usesSubgroups(device, HS)) {
    const kernel = device.kernel(PORTABLE[storage], {}, { WG_SIZE: workgroupSize });
    return { kernel, groups: grid(N * NH) };
  }
  const HS4 = HS / 4;
  const tune = { LANES: device.lanes, HS4 };
  if (!chunk || N === 1) {
    return { kernel: device.kernel(ROWS[storage], tune), groups: grid(N * NH) };
  }
  // Rows a lane: as much reuse of each load as compiles within a second.
  const R = Math.max(1, Math.min(4, Math.floor(48 / HS4)));
  const tiles = Math.ceil(N / (device.lanes * R));
  return { kernel: device.kernel(TILE[storage], { ...tune, R }), groups: grid(NH * tiles) };
}

function checkShapes(
  qkv: Tensor,
  { keys, values }: CacheLayer,
  { positions, sequences, table, heads, band = 0 }: AttentionCachedOptions,
): { N: number; C: number; HS: number; storage: StorageType } {
  const fail = (want: string, state: string): never => {
    throw new RangeError(`Cannot record cached attention: ${want}: got ${state}`);
  };
  const shapeOf = (tensor: Tensor) => `(${tensor.shape.join(", ")}) of ${tensor.dtype}`;
  const width = qkv.shape.at(-1)!;
  if (!Number.isInteger(heads) || heads < 1 || width % (3 * heads) !== 0) {
    fail(`"${qkv.label}" must end in 3 heads HS with heads = ${heads}`, `${width}`);
  }
  const C = width / 3;
  const N = qkv.count / width;
  const HS = C / heads;
  if (HS > MOST_HEAD_SIZE) fail(`a head size of at most ${MOST_HEAD_SIZE}`, `${HS}`);
  if (!Number.isInteger(band) || band < 0) fail(`"band" of 0 or more keys`, `${band}`);
  for (const tensor of [positions, sequences]) {
    if (tensor.dtype === "u32" && tensor.count === N) continue;
    fail(`"${tensor.label}" must be (${N}) of u32`, shapeOf(tensor));
  }
  if (table.dtype !== "u32" || table.shape.length !== 2) {
    fail(`"${table.label}" must be (S, blocks) of u32`, shapeOf(table));
  }
  for (const tensor of [keys, values]) {
    const [slots, channels] = tensor.shape;
    if (tensor.shape.length === 2 && slots! % BLOCK_TOKENS === 0 && channels === C) continue;
    fail(`"${tensor.label}" must be (blocks of ${BLOCK_TOKENS}, ${C})`, shapeOf(tensor));
  }
  if (keys.count !== values.count || keys.dtype !== values.dtype) {
    fail("as many values as keys, kept alike", shapeOf(values));
  }
  const storage = keys.dtype === "f16" ? "f16" : "f32";
  if (storage === "f16" && C % 2 !== 0) fail(`an even C where "${keys.label}" is f16`, `${C}`);
  return { N, C, HS, storage };
}

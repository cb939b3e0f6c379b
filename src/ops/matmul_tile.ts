/**
 * The products on GPUs: tiles through workgroup memory, their terms shared among workgroups where
 * the tiles of a result are too few to fill the adapter.
 *
 * @module
 */
import type { Kernel } from "../gpu/compiler.ts";
import type { Device } from "../gpu/device.ts";
import { defineKernel } from "../gpu/kernel.ts";
import { grid, read, readWrite, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import { defineStored } from "../gpu/storage.ts";
import type { Tensor } from "../gpu/tensor.ts";
import formula from "../../shaders/gelu.wgsl" with { type: "text" };
import nnSharedSource from "../../shaders/matmul_nn_shared.wgsl" with { type: "text" };
import ntSharedSource from "../../shaders/matmul_nt_shared.wgsl" with { type: "text" };
import slicesSource from "../../shaders/matmul_slices.wgsl" with { type: "text" };
import tileSource from "../../shaders/matmul_tile.wgsl" with { type: "text" };
import tileNn from "../../shaders/matmul_layout_nn.wgsl" with { type: "text" };
import tileNt from "../../shaders/matmul_layout_nt.wgsl" with { type: "text" };
import tileTn from "../../shaders/matmul_layout_tn.wgsl" with { type: "text" };
import type { Layout, Shape, Variant } from "./matmul.ts";

const SLICES = defineKernel({
  label: "matmul_slices",
  source: slicesSource,
  file: "shaders/matmul_slices.wgsl",
});

const shared = (label: string, source: string) =>
  defineStored({
    label,
    source,
    file: `shaders/${label}.wgsl`,
    includes: { "gelu.wgsl": formula },
  });

/** Rows of a decode step up to which the weights are read once for each eight rows. */
const MOST_SHARED_ROWS = 16;

/** Few rows where terms may be shared: every thread of the GPU reads a piece of the weight. */
export const SHARED_VARIANTS: readonly Variant[] = [
  {
    name: "nn_shared",
    kernels: shared("matmul_nn_shared", nnSharedSource),
    reduction: "shared",
    applies: ({ layout, M, N, lda, ldout, aColumn, outColumn, sharesTerms }, { tuning }) =>
      layout === "nn" && tuning === "gpu" && sharesTerms && M <= MOST_SHARED_ROWS &&
      [N, lda, ldout, aColumn, outColumn].every((x) => x % 4 === 0),
    tile: ({ M }) => ({ tune: { ROWS: sharedRows(M) }, rows: sharedRows(M), columns: 32 }),
  },
  {
    name: "nt_shared",
    kernels: shared("matmul_nt_shared", ntSharedSource),
    reduction: "shared",
    applies: ({ layout, M, N, K, lda, aColumn, sharesTerms }, { tuning, limits }) =>
      layout === "nt" && tuning === "gpu" && sharesTerms && M <= MOST_SHARED_ROWS &&
      N <= 8 * limits.maxComputeWorkgroupsPerDimension &&
      [K, lda, aColumn].every((x) => x % 4 === 0),
    tile: ({ M }) => ({ tune: { ROWS: sharedRows(M) }, rows: sharedRows(M), columns: 8 }),
  },
];

function sharedRows(M: number): number {
  return M === 1 ? 1 : M <= 4 ? 4 : 8;
}

/** Workgroups of a dispatch from which a large GPU is kept busy: two for each multiprocessor. */
const ENOUGH_GROUPS = 264;
/** Terms of the shortest slice: less, and adding the slices up costs more than it gains. */
const LEAST_SLICE = 256;
/** Bytes that the slices of one product may take. */
const MOST_SLICE_BYTES = 256 << 20;

/** A tile of a result, and how a workgroup goes about it; see shaders/matmul_tile.wgsl. */
export interface Tile {
  /** Names it among the choices that are kept. */
  readonly name: string;
  /** Of the result. */
  readonly rows: number;
  /** Of the result. */
  readonly columns: number;
  /** Constants of the shader. */
  readonly tune: Readonly<Record<string, number>>;
  /** Workgroup memory. */
  readonly memoryBytes: number;
}

function tile(
  [rows, columns]: readonly [number, number],
  { threads, wide, terms, buffers = 2, goes = 1 }: {
    threads: number;
    /** Threads side by side. */
    wide: number;
    /** Terms in one go. */
    terms: number;
    buffers?: 1 | 2;
    /** Goes that are written out. */
    goes?: 1 | 2;
  },
): Tile {
  const name = `${rows}x${columns}, ${threads} threads, ${goes > 1 ? `${goes} x ` : ""}` +
    `${terms} terms, ${buffers} ${buffers > 1 ? "buffers" : "buffer"}`;
  return {
    ...{ name, rows, columns },
    tune: {
      THREADS: threads,
      WIDE: wide,
      RG: rows / 4 / (threads / wide),
      CG: columns / 4 / wide,
      TERMS: terms,
      BUFFERS: buffers,
      GOES: goes,
    },
    memoryBytes: 4 * buffers * terms * (rows + columns),
  };
}

/** All tiles, larger ones first. None changes the order of a sum. */
export const TILES: readonly Tile[] = [
  tile([128, 128], { threads: 256, wide: 16, terms: 8, goes: 2 }),
  tile([128, 128], { threads: 256, wide: 16, terms: 16, buffers: 1 }),
  tile([128, 128], { threads: 128, wide: 8, terms: 8, goes: 2 }),
  tile([64, 128], { threads: 128, wide: 16, terms: 8 }),
  tile([64, 128], { threads: 128, wide: 16, terms: 8, goes: 2 }),
  tile([64, 64], { threads: 256, wide: 16, terms: 16 }),
  tile([64, 64], { threads: 64, wide: 8, terms: 8 }),
];

/**
 * How many tiles of 128 x 128 a product has, slices counted: too few for a large adapter, as many
 * as it takes at once or less, up to twice that, or more, so that the last ones no longer count.
 */
export const TILE_CLASSES = ["few", "some", "more", "many"] as const;

/** One of {@linkcode TILE_CLASSES}. */
export type TileClass = typeof TILE_CLASSES[number];

/** Tiles chosen by timing, by layout and class. */
const chosen = new WeakMap<Device, Map<string, Tile>>();

/**
 * Makes products of a kind, "nn few" say, take a tile from now on.
 *
 * @param tile undefined: as where nothing was timed
 * @returns the one that was set before, to set it again
 */
export function setTiles(device: Device, kind: string, tile: Tile | undefined): Tile | undefined {
  const table = chosen.get(device) ?? new Map<string, Tile>();
  const before = table.get(kind);
  if (tile) chosen.set(device, table.set(kind, tile));
  else table.delete(kind);
  return before;
}

/** The variants of a GPU's products. */
export const TILE_VARIANTS: readonly Variant[] = [
  tileVariant("nn", tileNn),
  tileVariant("nt", tileNt),
  tileVariant("tn", tileTn),
];

/** @param text which neighbours the factors have */
function tileVariant(of: Layout, text: string): Variant {
  const kernels = defineStored({
    label: `matmul_tile_${of}`,
    source: tileSource,
    file: "shaders/matmul_tile.wgsl",
    includes: { "gelu.wgsl": formula, "layout.wgsl": text },
  });
  return {
    name: `${of}_tile`,
    kernels: of === "tn" ? { f32: kernels.f32 } : kernels,
    reduction: "sequential",
    applies: ({ layout, M, N, K, lda, ldout, aColumn, outColumn }, device) =>
      device.tuning === "gpu" && layout === of && M > 4 &&
      [N, lda, ldout, aColumn, outColumn, of === "nt" ? K : 0].every((x) => x % 4 === 0),
    tile(shape, device) {
      const S = slices(shape, device);
      const { rows, columns, tune } = chooseTile(shape, S, device);
      const { TERMS, GOES } = tune;
      // A slice has whole goes where K has: its terms are a multiple of 16.
      const REST = shape.K % (TERMS! * GOES!) === 0 ? 0 : 1;
      return { tune: { ...tune, REST }, rows, columns, slices: S };
    },
  };
}

/** The tiles that an adapter has the workgroup memory for. */
export function tilesFor({ limits }: Device): readonly Tile[] {
  return TILES.filter(({ memoryBytes }) => memoryBytes <= limits.maxComputeWorkgroupStorageSize);
}

/** Tiles of 128 x 128. */
function tileCount({ M, N }: Shape): number {
  return Math.ceil(M / 128) * Math.ceil(N / 128);
}

/** Rows and columns where nothing was timed. */
const DEFAULT_TILE: Readonly<Record<TileClass, readonly [number, number]>> = {
  few: [64, 64],
  some: [64, 128],
  more: [64, 128],
  many: [128, 128],
};

function chooseTile(shape: Shape, S: number, device: Device): Tile {
  const count = tileCount(shape) * S;
  const size: TileClass = count < ENOUGH_GROUPS / 4
    ? "few"
    : count < ENOUGH_GROUPS
    ? "some"
    : count < 2 * ENOUGH_GROUPS
    ? "more"
    : "many";
  const [rows, columns] = DEFAULT_TILE[size];
  const fitting = tilesFor(device);
  return chosen.get(device)?.get(`${shape.layout} ${size}`) ??
    fitting.find((tile) => tile.rows === rows && tile.columns === columns) ?? fitting.at(-1)!;
}

/**
 * Among how many workgroups the terms of an element are shared: by shape alone, as it decides the
 * order of the sum.
 */
function slices(shape: Shape, device: Device): number {
  const { M, N, K, sharesTerms, layout } = shape;
  if (!sharesTerms) return 1;
  const wanted = Math.floor(2 * ENOUGH_GROUPS / tileCount(shape));
  const sliceBytes = 4 * (M + (layout === "tn" ? 1 : 0)) * N;
  const most = Math.min(MOST_SLICE_BYTES, device.limits.maxStorageBufferBindingSize) / sliceBytes;
  return Math.max(1, Math.min(wanted, Math.floor(K / LEAST_SLICE), Math.floor(most), 64));
}

/** Record the sum of `S` slices (S, M + 1 with a column sum, N) into out and the column sum. */
export function addSlices(
  plan: Plan,
  part: Tensor,
  { out, columnSum }: { out: Tensor; columnSum?: Tensor | undefined },
  { M, N, S, ldout, outColumn, accumulate }:
    & Pick<Shape, "M" | "N" | "ldout" | "outColumn" | "accumulate">
    & { S: number },
): void {
  const { device } = plan;
  const tune = { ADD: accumulate ? 1 : 0, COLUMN_SUM: columnSum ? 1 : 0 };
  const kernel: Kernel = device.kernel(SLICES, tune);
  plan.dispatch(kernel, {
    groups: grid(Math.ceil((M + tune.COLUMN_SUM) * N / 4 / 256)),
    params: { M, N, S, ldout, out_column: outColumn, pad0: 0, pad1: 0, pad2: 0 },
    bindings: [
      read(part),
      columnSum ? readWrite(columnSum) : write(device.none("write")),
      accumulate ? readWrite(out) : write(out),
    ],
  });
}

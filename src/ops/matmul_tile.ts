/**
 * The products on GPUs: tiles through workgroup memory, their terms shared among workgroups where
 * the tiles of a result are too few to fill the adapter.
 *
 * @module
 */
import type { Device, Kernel } from "../gpu/device.ts";
import { defineKernel } from "../gpu/kernel.ts";
import { grid, type Plan, read, readWrite, write } from "../gpu/plan.ts";
import { defineStored } from "../gpu/storage.ts";
import type { Tensor } from "../gpu/tensor.ts";
import formula from "../../shaders/gelu.wgsl" with { type: "text" };
import nnSharedSource from "../../shaders/matmul_nn_shared.wgsl" with { type: "text" };
import ntSharedSource from "../../shaders/matmul_nt_shared.wgsl" with { type: "text" };
import slicesSource from "../../shaders/matmul_slices.wgsl" with { type: "text" };
import tileSource from "../../shaders/matmul_tile.wgsl" with { type: "text" };
import type { Shape, Variant } from "./matmul.ts";

const TILE = defineStored({
  label: "matmul_tile",
  source: tileSource,
  file: "shaders/matmul_tile.wgsl",
  includes: { "gelu.wgsl": formula },
});

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

/** A tile: 64 RG rows by 64 CG columns of a result. */
export interface Tile {
  /** Names it among the choices that are kept. */
  readonly name: string;
  /** Groups of 4 rows a thread. */
  readonly RG: number;
  /** Groups of 4 columns a thread. */
  readonly CG: number;
  /** Constants of the shader. */
  readonly tune: Readonly<Record<string, number>>;
  /** Workgroup memory. */
  readonly memoryBytes: number;
}

function tile(RG: number, CG: number, BUFFERS: number, STEP: number): Tile {
  return {
    name: `${64 * RG}x${64 * CG}, ${BUFFERS} buffers, ${STEP} terms`,
    RG,
    CG,
    tune: { RG, CG, BUFFERS, STEP },
    memoryBytes: BUFFERS * 16 * 64 * 4 * (RG + CG),
  };
}

/** All tiles, larger ones first. None changes the order of a sum. */
export const TILES: readonly Tile[] = [
  tile(2, 4, 2, 4),
  tile(2, 4, 1, 4),
  tile(2, 2, 2, 16),
  tile(2, 2, 1, 16),
  tile(2, 2, 2, 4),
  tile(1, 2, 2, 16),
  tile(1, 2, 1, 16),
  tile(1, 1, 1, 16),
];

/** How many tiles a result has: too few for the adapter, about enough, or many times enough. */
export type TileClass = "few" | "some" | "many";

/** Tiles chosen by timing, by layout and class. */
const chosen = new WeakMap<Device, Map<string, Tile>>();

/** Makes products of a kind, "nn few" say, take a tile from now on. */
export function setTiles(device: Device, kind: string, tile: Tile): void {
  const table = chosen.get(device) ?? new Map<string, Tile>();
  chosen.set(device, table.set(kind, tile));
}

/** The variant of a GPU's products. */
export const TILE_VARIANT: Variant = {
  name: "tile",
  kernels: TILE,
  reduction: "sequential",
  applies: ({ layout, M, N, K, lda, ldout, aColumn, outColumn }, device) =>
    device.tuning === "gpu" && M > 4 &&
    [N, lda, ldout, aColumn, outColumn, layout === "nt" ? K : 0].every((x) => x % 4 === 0),
  tile(shape, device) {
    const S = slices(shape, device);
    const { RG, CG, tune } = chooseTile(shape, S, device);
    const LAYOUT = { nn: 0, nt: 1, tn: 2 }[shape.layout];
    return { tune: { LAYOUT, ...tune }, rows: 64 * RG, columns: 64 * CG, slices: S };
  },
};

/** Tiles of 128 x 128. */
function tileCount({ M, N }: Shape): number {
  return Math.ceil(M / 128) * Math.ceil(N / 128);
}

function chooseTile(shape: Shape, S: number, device: Device): Tile {
  const count = tileCount(shape) * S;
  const size: TileClass = count < ENOUGH_GROUPS / 4
    ? "few"
    : count < 2 * ENOUGH_GROUPS
    ? "some"
    : "many";
  const fits = ({ memoryBytes }: Tile) =>
    memoryBytes <= device.limits.maxComputeWorkgroupStorageSize;
  const [RG, CG] = { few: [1, 1], some: [1, 2], many: [2, 2] }[size];
  return chosen.get(device)?.get(`${shape.layout} ${size}`) ??
    TILES.find((tile) => tile.RG === RG && tile.CG === CG && fits(tile)) ?? TILES.at(-1)!;
}

/**
 * Among how many workgroups the terms of an element are shared: by shape alone, as it decides the order
 * of the sum.
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

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

/** Rows and columns of the tiles, in groups of 64, the fastest first. */
const TILES = [[2, 2], [1, 2], [1, 1]] as const;

/** Tiles of a GPU; without `RG` and `CG` the largest that gives enough workgroups. */
export function tileVariant(RG?: number, CG?: number): Variant {
  return {
    name: RG ? `tile_${64 * RG}x${64 * CG!}` : "tile",
    kernels: TILE,
    reduction: "sequential",
    applies: ({ layout, M, N, K, lda, ldout, aColumn, outColumn }, device) =>
      device.tuning === "gpu" && M > 4 &&
      [N, lda, ldout, aColumn, outColumn, layout === "nt" ? K : 0].every((x) => x % 4 === 0),
    tile(shape, device) {
      const [rows, columns] = RG ? [RG, CG!] : chooseTile(shape);
      const memoryBytes = 2 * 16 * 64 * 4 * (rows + columns);
      const tune = {
        LAYOUT: { nn: 0, nt: 1, tn: 2 }[shape.layout],
        RG: rows,
        CG: columns,
        BUFFERS: memoryBytes <= device.limits.maxComputeWorkgroupStorageSize ? 2 : 1,
      };
      return {
        tune,
        rows: 64 * rows,
        columns: 64 * columns,
        slices: slices(shape, rows, columns, device),
      };
    },
  };
}

function tiles({ M, N }: Shape, RG: number, CG: number): number {
  return Math.ceil(M / (64 * RG)) * Math.ceil(N / (64 * CG));
}

function chooseTile(shape: Shape): readonly [number, number] {
  const [largest, middle, smallest] = TILES;
  if (shape.sharesTerms && shape.K >= 4 * LEAST_SLICE && shape.M > 64) return largest;
  if (tiles(shape, ...largest) >= ENOUGH_GROUPS) return largest;
  return tiles(shape, ...middle) >= ENOUGH_GROUPS ? middle : smallest;
}

/** Among how many workgroups the terms of an element are shared. */
function slices(shape: Shape, RG: number, CG: number, device: Device): number {
  const { M, N, K, sharesTerms, layout } = shape;
  if (!sharesTerms) return 1;
  const wanted = Math.floor(2 * ENOUGH_GROUPS / tiles(shape, RG, CG));
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

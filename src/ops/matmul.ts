/**
 * The three matrix products over row-major f32 that a decoder and its gradients are made of. The
 * right factor of those that inference needs may be kept in f16.
 *
 * Every variant but those for products that may share their terms sums each element over the
 * contraction one term after the other, with fma, from the bias or 0. So a row of a result has the
 * same bits whatever the number of rows, the tile or the variant, and a variant may be chosen by
 * speed alone.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import type { KernelSource } from "../gpu/kernel.ts";
import { defineStored, STORAGE_BYTES, type StorageType } from "../gpu/storage.ts";
import { type Binding, read, readWrite, texture, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { fitsTexture, prefersTextures } from "../gpu/texture.ts";
import { addSlices, SHARED_VARIANTS, TILE_VARIANTS } from "./matmul_tile.ts";
import factorsBuffer from "../../shaders/factors_buffer.wgsl" with { type: "text" };
import factorsTexture from "../../shaders/factors_texture.wgsl" with { type: "text" };
import formula from "../../shaders/gelu.wgsl" with { type: "text" };
import nnRowsSource from "../../shaders/matmul_nn_rows.wgsl" with { type: "text" };
import nnSource from "../../shaders/matmul_nn.wgsl" with { type: "text" };
import ntRowsSource from "../../shaders/matmul_nt_rows.wgsl" with { type: "text" };
import ntSource from "../../shaders/matmul_nt.wgsl" with { type: "text" };
import portableSource from "../../shaders/matmul_portable.wgsl" with { type: "text" };
import tnSource from "../../shaders/matmul_tn.wgsl" with { type: "text" };

/** What every product takes; offsets and strides are in elements. */
export interface Product {
  /** Left factor; nn, nt: (M, K), tn: (K, M). */
  a: Tensor;
  /**
   * Right factor; nn, tn: (K, N), nt: (N, K). Dense; may have more rows than are used. f32, or for
   * nn and nt f16.
   */
  b: Tensor;
  /** (M, N). */
  out: Tensor;
  /** Rows of the product. */
  M: number;
  /** Columns of the product. */
  N: number;
  /** Length of the sums. */
  K: number;
  /** Elements from a row of `a` to the next. @default nn, nt: K; tn: M */
  lda?: number;
  /** Elements from a row of `out` to the next. @default N */
  ldout?: number;
  /** First column of `a` that is used. @default 0 */
  aColumn?: number;
  /** First column of `out` that is written. @default 0 */
  outColumn?: number;
  /** `+=` when true, else `=`. @default false */
  accumulate?: boolean;
  /**
   * Whether the terms of an element may be shared among workgroups where that is faster, so that
   * its bits depend on M. For gradients: there nobody compares a row alone with a row in a batch.
   * @default false
   */
  sharesTerms?: boolean;
}

/** What {@linkcode matmulNn} can do to a sum before it is stored; none of it with `accumulate`. */
export interface Epilogue {
  /** (N), added to every row. */
  bias?: Tensor | undefined;
  /** (M, N), dense, added after the bias; not together with `gelu`. */
  residual?: Tensor | undefined;
  /** out = gelu(a b + bias). */
  gelu?: "tanh" | "erf" | undefined;
  /** (M, N), dense; keeps the value before `gelu`, for the backward. */
  pre?: Tensor | undefined;
}

/** Which factor is transposed; see the functions of the same names. */
export type Layout = "nn" | "nt" | "tn";

/**
 * A product with its defaults filled in.
 *
 * @internal
 */
export type Shape = Required<Omit<Product, "a" | "b" | "out">> & {
  layout: Layout;
  storage: StorageType;
};

/** A way to compute a product. */
export interface Variant {
  /** Names the variant in tests and benchmarks. */
  readonly name: string;
  /** The shader it runs, by how b is kept. */
  readonly kernels: { readonly f32: KernelSource; readonly f16?: KernelSource };
  /** The order in which an element is summed. */
  readonly reduction: "sequential" | "shared";
  /** Whether it can compute a product of this shape on this device. */
  applies(shape: Shape, device: Device): boolean;
  /** The shader's constants for a shape, and the rows and columns of out that a workgroup takes. */
  tile(shape: Shape, device: Device): {
    tune: Record<string, number>;
    rows: number;
    columns: number;
    /** Workgroups that share the terms of an element; 1 where the sum is sequential. @default 1 */
    slices?: number;
  };
}

function define(label: string, source: string) {
  const includes = { "gelu.wgsl": formula, "factors.wgsl": factorsBuffer };
  return defineStored({ label, source, file: `shaders/${label}.wgsl`, includes });
}

/** The same with both factors in textures, which are f32. */
function defineTextured(name: string, source: string) {
  const includes = { "gelu.wgsl": formula, "factors.wgsl": factorsTexture };
  const file = `shaders/${name}.wgsl`;
  return { f32: defineStored({ label: `${name}_texture`, source, file, includes }).f32 };
}

/** Rows up to which reading b once a few rows beats a tile. */
const FEW_ROWS = 4;

/**
 * Bytes of b from which a processor's cores wait for its rows more than they compute: 64 x 25,132 x
 * 768 gains a third by asking for them early, while 768 x 3,072 loses a tenth.
 */
const FAR_BYTES = 32 << 20;

/** In order of preference. */
export const VARIANTS: readonly Variant[] = [
  ...SHARED_VARIANTS,
  {
    name: "nn_rows",
    kernels: define("matmul_nn_rows", nnRowsSource),
    reduction: "sequential",
    applies: (s) => s.layout === "nn" && s.M <= FEW_ROWS && wholeVectors(s, s.N),
    tile({ M }, device) {
      // A processor reads a row of b from memory by itself, and the wider the stretch of it the
      // better: with 12 vec4s a lane, weights of GPT-2 small come at the speed of a copy, with 2 at
      // a third of that; 384 columns also share its 768 out evenly. A GPU wants more workgroups.
      const TV = device.tuning === "processor" ? 12 : 2;
      const tune = { WG_SIZE: device.lanes || 32, ROWS: M === 1 ? 1 : FEW_ROWS, TV };
      return { tune, rows: tune.ROWS, columns: 4 * tune.WG_SIZE * tune.TV };
    },
  },
  {
    name: "nt_rows",
    kernels: define("matmul_nt_rows", ntRowsSource),
    reduction: "sequential",
    applies: (s) =>
      s.layout === "nt" && (s.M <= FEW_ROWS || s.N < 4) &&
      [s.K, s.lda, s.aColumn].every((count) => count % 4 === 0),
    tile({ M }, { lanes }) {
      const tune = { WG_SIZE: lanes || 32, ROWS: M === 1 ? 1 : FEW_ROWS, TC: 4 };
      return { tune, rows: tune.ROWS, columns: tune.WG_SIZE * tune.TC };
    },
  },
  ...TILE_VARIANTS,
  {
    name: "nn_texture",
    kernels: defineTextured("matmul_nn", nnSource),
    reduction: "sequential",
    applies: (s, device) => s.layout === "nn" && isWorthCopying(s, device) && wholeVectors(s, s.N),
    tile: (_, device) => textureTile(device),
  },
  {
    name: "nt_texture",
    kernels: defineTextured("matmul_nt", ntSource),
    reduction: "sequential",
    applies: (s, device) =>
      s.layout === "nt" && isWorthCopying(s, device) && wholeVectors(s, s.N, s.K),
    tile: (_, device) => textureTile(device),
  },
  {
    name: "tn_texture",
    kernels: defineTextured("matmul_tn", tnSource),
    reduction: "sequential",
    applies: (s, device) => s.layout === "tn" && isWorthCopying(s, device) && wholeVectors(s, s.N),
    tile: (_, device) => textureTile(device),
  },
  {
    name: "nn_subgroup",
    kernels: define("matmul_nn", nnSource),
    reduction: "sequential",
    applies: (s, { lanes }) => s.layout === "nn" && lanes > 0 && wholeVectors(s, s.N),
    tile(s, device) {
      // 64 rows win alone, but not within a training step.
      const rows = Math.min(32, rowTile(s.M, device));
      // Few rows leave room for more columns: wider stretches of b, as for nn_rows.
      const isWide = device.tuning === "processor" && rows <= 16;
      const tile = subgroupTile(device, rows, isWide ? 96 / rows : undefined);
      const bytes = STORAGE_BYTES[s.storage] * s.K * s.N;
      const FAR = device.tuning === "processor" && bytes >= FAR_BYTES ? 1 : 0;
      return { ...tile, tune: { ...tile.tune, FAR } };
    },
  },
  {
    name: "nt_subgroup",
    kernels: define("matmul_nt", ntSource),
    reduction: "sequential",
    applies: (s, { lanes }) => s.layout === "nt" && lanes > 0 && wholeVectors(s, s.N, s.K),
    tile: (s, device) => subgroupTile(device, rowTile(s.M, device)),
  },
  {
    name: "tn_subgroup",
    kernels: { f32: define("matmul_tn", tnSource).f32 },
    reduction: "sequential",
    applies: (s, { lanes }) => s.layout === "tn" && lanes > 0 && wholeVectors(s, s.N),
    tile: (s, device) => subgroupTile(device, Math.max(32, rowTile(s.M, device))),
  },
  {
    name: "portable",
    kernels: define("matmul_portable", portableSource),
    reduction: "sequential",
    applies: () => true,
    tile({ layout }) {
      const tune = { SIDE: 16, LAYOUT: { nn: 0, nt: 1, tn: 2 }[layout] };
      return { tune, rows: 4 * tune.SIDE, columns: 4 * tune.SIDE };
    },
  },
];

/** Whether everything that a vec4 kernel indexes starts and ends at a whole vec4. */
function wholeVectors(s: Shape, ...counts: number[]): boolean {
  const all = [s.lda, s.ldout, s.aColumn, s.outColumn, ...counts];
  return all.every((count) => count % 4 === 0);
}

/** How often a number is to be read, with each factor's as the harmonic mean, to be copied. */
const COPY_READS = 48;

/** What a row costs in a tile of 64 rows, which loads less, beside one of 32: 8 to 15 % less. */
const TALL_COST = 0.87;

/**
 * The smallest tile that holds all rows, so that a decode step of 8 rows does not compute 32; else
 * 64 rows a tile on a processor, or 32 where those of the last tile would mostly be wasted. 64 x 64
 * sums are as many as compile within a second.
 */
function rowTile(M: number, device: Device): number {
  const few = [8, 16, 32].find((rows) => rows >= M && rows % device.lanes === 0);
  if (few !== undefined) return few;
  if (device.tuning === "gpu") return 32;
  return 2 * TALL_COST * Math.ceil(M / 64) < Math.ceil(M / 32) ? 64 : 32;
}

/**
 * Whether both factors are worth a copy into textures: on a processor, where each number is read
 * often enough to pay for it.
 */
function isWorthCopying({ storage, layout, M, N, K, lda }: Shape, device: Device): boolean {
  const a = layout === "tn" ? K * lda : M * lda;
  return prefersTextures(device) && storage === "f32" && M * N >= COPY_READS * (M + N) &&
    fitsTexture(device, a) && fitsTexture(device, K * N);
}

/** As many sums as compile within a second; with 16 lanes 64 rows load the least. */
function textureTile({ lanes }: Device) {
  const tune = { LANES: lanes, ...(lanes >= 16 ? { TM: 64, TV: 1 } : { TM: 32, TV: 2 }) };
  return { tune, rows: tune.TM, columns: 4 * lanes * tune.TV };
}

function subgroupTile({ lanes }: Device, rows: number, TV = lanes >= 16 ? 1 : 2) {
  const tune = { LANES: lanes, TM: rows, TV };
  return { tune, rows, columns: 4 * lanes * tune.TV };
}

/** The variant that a product is computed by. */
export function chooseVariant(device: Device, shape: Shape): Variant {
  return VARIANTS.find((variant) => variant.applies(shape, device))!;
}

/**
 * Record out (M, N) (=|+=) a (M, K) · b (K, N) [+ bias] [+ residual] [gelu].
 *
 * @throws {RangeError} When a tensor is too small, or options exclude each other.
 */
export function matmulNn(plan: Plan, product: Product & Epilogue): void {
  const { gelu, residual, bias, accumulate = false } = product;
  if ((residual && gelu) || (accumulate && (bias || residual || gelu))) {
    throw new RangeError(
      "Cannot record matmul: a residual, a gelu or accumulate, and no bias with the last: " +
        `got more than one for "${product.out.label}"`,
    );
  }
  const shape = complete(product, "nn");
  // Kernels that share terms keep no value before gelu.
  record(plan, product, { ...shape, sharesTerms: mayShare(plan, shape) && !product.pre });
}

/**
 * Record out (M, N) (=|+=) a (M, K) · b (N, K)ᵀ.
 *
 * @throws {RangeError} When a tensor is too small.
 */
export function matmulNt(plan: Plan, product: Product): void {
  const given = complete(product, "nt");
  const shape = { ...given, sharesTerms: mayShare(plan, given) };
  const tail = shape.N % 4;
  const main = { ...shape, N: shape.N - tail };
  const wantsVectors = ["nt_subgroup", "nt_tile"];
  if (tail === 0 || main.N === 0 || !wantsVectors.includes(chooseVariant(plan.device, main).name)) {
    return record(plan, product, shape);
  }
  record(plan, product, main);
  const outColumn = shape.outColumn + main.N;
  record(plan, product, { ...shape, N: tail, outColumn }, main.N);
}

/**
 * Record out (M, N) (=|+=) a (K, M)ᵀ · b (K, N) and, where a columnSum (N) is given,
 * columnSum += Σ_k b[k, :].
 *
 * @throws {RangeError} When a tensor is too small.
 */
export function matmulTn(plan: Plan, product: Product & { columnSum?: Tensor | undefined }): void {
  record(plan, product, complete(product, "tn"));
}

function mayShare({ device }: Plan, { sharesTerms }: Shape): boolean {
  return sharesTerms || device.fast;
}

function complete(product: Product, layout: Layout): Shape {
  const { a, b, out, M, N, K } = product;
  const [rows, columns] = layout === "tn" ? [K, M] : [M, K]; // of a
  const { lda = columns, ldout = N, aColumn = 0, outColumn = 0, accumulate = false } = product;
  const sharesTerms = product.sharesTerms ?? false;
  const need = (tensor: Tensor, count: number, shape: string) => {
    if (tensor.count >= count) return;
    throw new RangeError(
      `Cannot record matmul_${layout}: "${tensor.label}" of ${count} elements for ${shape}: ` +
        `got (${tensor.shape.join(", ")})`,
    );
  };
  if (aColumn + columns > lda || outColumn + N > ldout) {
    throw new RangeError(
      `Cannot record matmul_${layout}: columns within lda = ${lda} and ldout = ${ldout}: ` +
        `got ${aColumn} + ${columns} and ${outColumn} + ${N}`,
    );
  }
  const storage = b.dtype === "f16" && layout !== "tn" ? "f16" : "f32"; // others fit no kernel
  need(a, (rows - 1) * lda + aColumn + columns, `${rows} rows, lda = ${lda}`);
  need(b, K * N, `K = ${K}, N = ${N}`);
  need(out, (M - 1) * ldout + outColumn + N, `M = ${M}, ldout = ${ldout}`);
  return { layout, storage, M, N, K, lda, ldout, aColumn, outColumn, accumulate, sharesTerms };
}

/** Record one dispatch; `bRow` is the first row of b that is used. */
function record(
  plan: Plan,
  product: Product & Epilogue & { columnSum?: Tensor | undefined },
  shape: Shape,
  bRow = 0,
): void {
  const { device } = plan;
  const { M, N, K, layout, storage, accumulate } = shape;
  const { kernels, tile } = chooseVariant(device, shape);
  const kernel = kernels[storage] ?? kernels.f32;
  const tiled = tile(shape, device);
  const { tune, rows, columns } = tiled;
  const { a, b, out, bias, residual, gelu, pre, columnSum } = product;
  const slices = bias || residual || gelu ? 1 : tiled.slices ?? 1; // they are added once
  const part = slices > 1
    ? plan.activation("slices", [slices, M + (columnSum ? 1 : 0), N])
    : undefined;
  const EPILOGUE = part
    ? 0
    : accumulate
    ? 1
    : residual
    ? 2
    : gelu === "tanh"
    ? 3
    : gelu === "erf"
    ? 4
    : 0;
  const switches: Record<string, number> = {
    EPILOGUE,
    ADD: accumulate ? 1 : 0,
    KEEP: gelu && pre ? 1 : 0,
    COLUMN_SUM: columnSum ? 1 : 0,
    PARTIAL: part ? 1 : 0,
  };
  for (const name of Object.keys(switches)) {
    if (kernel.source.includes(`const ${name}:`)) tune[name] = switches[name]!;
  }
  const params: Record<string, number> = {
    M,
    N,
    K,
    flags: bias ? 1 : 0,
    lda: shape.lda,
    ldb: layout === "nt" ? K : N,
    ldout: shape.ldout,
    a_column: shape.aColumn,
    b_row: bRow,
    out_column: shape.outColumn,
    slice: Math.ceil(K / slices / 16) * 16,
    zero: 0,
    pad0: 0,
    pad1: 0,
    pad2: 0,
  };
  // What is written besides out; no product has both, and slices have their column sum with them.
  const beside = part
    ? write(device.none("write"))
    : columnSum
    ? readWrite(columnSum)
    : write(gelu && pre ? pre : device.none("write"));
  const isTextured = kernel.bindings[1]!.kind === "texture";
  const bindings: Record<string, Binding> = {
    a: isTextured ? texture(a) : read(a),
    b: isTextured ? texture(b) : read(b),
    bias: read(bias ?? device.none("read")),
    residual: read(residual ?? device.none("read")),
    column_sum: beside,
    pre: beside,
    beside,
    out: part ? write(part) : accumulate ? readWrite(out) : write(out),
  };
  plan.dispatch(device.kernel(kernel, tune), {
    groups: [Math.ceil(N / columns), Math.ceil(M / rows), slices],
    params: Object.fromEntries(kernel.params.map(({ name }) => [name, params[name]!])),
    bindings: kernel.bindings.slice(1).map(({ name }) => bindings[name]!),
    work: { flops: 2 * M * N * K, bytes: 4 * (M * K + M * N) + STORAGE_BYTES[storage] * K * N },
  });
  if (part) addSlices(plan, part, { out, columnSum }, { ...shape, S: slices });
}

/**
 * Causal self-attention over packed queries, keys and values, dense or locally banded, over whole
 * rows or the texts that share one, with its gradient.
 *
 * out[t] = Σ_j dropout(softmax_j(q[t] · k[j] / √HS)) v[j] over the keys that query t sees. Scores
 * are never stored ("flash", Dao et al. 2022, https://arxiv.org/abs/2205.14135) or kept for the
 * backward ("materialised"); the result is the same to the bit, but for a GPU's tiles, which keep
 * no scores and sum in an order of their own.
 *
 * @module
 */
import type { Kernel } from "../gpu/compiler.ts";
import type { Device } from "../gpu/device.ts";
import { defineKernel, type KernelSource } from "../gpu/kernel.ts";
import { type Binding, grid, read, readWrite, texture, write } from "../gpu/binding.ts";
import type { Plan } from "../gpu/plan.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { fitsTexture, prefersTextures } from "../gpu/texture.ts";
import boundsSource from "../../shaders/attention_bounds.wgsl" with { type: "text" };
import bufferSource from "../../shaders/attention_buffer.wgsl" with { type: "text" };
import dkvPortableSource from "../../shaders/attention_dkv_portable.wgsl" with { type: "text" };
import dkvSource from "../../shaders/attention_dkv.wgsl" with { type: "text" };
import dqPortableSource from "../../shaders/attention_dq_portable.wgsl" with { type: "text" };
import dqSource from "../../shaders/attention_dq.wgsl" with { type: "text" };
import doutBufferSource from "../../shaders/attention_dout_buffer.wgsl" with { type: "text" };
import doutTextureSource from "../../shaders/attention_dout_texture.wgsl" with { type: "text" };
import dropoutSource from "../../shaders/attention_dropout.wgsl" with { type: "text" };
import forwardPortableSource from "../../shaders/attention_forward_portable.wgsl" with {
  type: "text",
};
import forwardSource from "../../shaders/attention_forward.wgsl" with { type: "text" };
import tileDkvSource from "../../shaders/attention_tile_dkv.wgsl" with { type: "text" };
import tileDqSource from "../../shaders/attention_tile_dq.wgsl" with { type: "text" };
import tileForwardSource from "../../shaders/attention_tile_forward.wgsl" with { type: "text" };
import tileSource from "../../shaders/attention_tile.wgsl" with { type: "text" };
import textureSource from "../../shaders/attention_texture.wgsl" with { type: "text" };
import philoxSource from "../../shaders/philox.wgsl" with { type: "text" };
import type { DropoutOptions } from "./dropout.ts";

const define = (name: string, source: string, suffix = "", more: Record<string, string> = {}) =>
  defineKernel({
    label: `attention_${name}${suffix}`,
    source,
    file: `shaders/attention_${name}.wgsl`,
    includes: {
      "philox.wgsl": philoxSource,
      "attention_bounds.wgsl": boundsSource,
      "attention_dropout.wgsl": dropoutSource,
      "attention_tile.wgsl": tileSource,
      ...more,
    },
  });
const defineAll = (suffix: string, qkv: string, dout: string) => ({
  forward: define("forward", forwardSource, suffix, { "attention_qkv.wgsl": qkv }),
  dq: define("dq", dqSource, suffix, { "attention_qkv.wgsl": qkv }),
  dkv: define("dkv", dkvSource, suffix, {
    "attention_qkv.wgsl": qkv,
    "attention_dout.wgsl": dout,
  }),
});

const SUBGROUP = defineAll("", bufferSource, doutBufferSource);
/** What all rows of a head read, from textures. */
const TEXTURE = defineAll("_texture", textureSource, doutTextureSource);
const TILE = {
  forward: define("tile_forward", tileForwardSource),
  dq: define("tile_dq", tileDqSource),
  dkv: define("tile_dkv", tileDkvSource),
};
const PORTABLE = {
  forward: define("forward_portable", forwardPortableSource),
  dq: define("dq_portable", dqPortableSource),
  dkv: define("dkv_portable", dkvPortableSource),
};

/** Largest head of the kernels without subgroups, bounded by their workgroup memory. */
const MOST_HEAD_SIZE = 256;
/** Largest head of the subgroup kernels: above it they take seconds to compile. */
const MOST_SUBGROUP_HEAD_SIZE = 128;

/** Queries and keys of a tile of the kernels for GPUs. */
const TILE_SIDE = 32;
/** Elements of qkv from which it is worth a copy into a texture. */
const COPIED_COUNT = 1 << 14;

/** Options of {@linkcode attention}. */
export interface AttentionOptions {
  /** Number of heads; C must be a multiple. */
  heads: number;
  /** Query t sees keys t - band < j <= t; 0 is dense. @default 0 */
  band?: number;
  /** (B) u32: positions from `length` on are padding: they see nothing and are not seen. */
  lengths?: Tensor;
  /**
   * (2, B, T) u32, in place of lengths: where in its row the segment of each token starts, and
   * where it ends. A token sees its own segment alone, so that texts which share a row do not meet.
   */
  segments?: Tensor;
  /** Dropout on the probabilities, replayed in the backward and never stored. @default none */
  dropout?: DropoutOptions;
  /**
   * Whether the backward computes scores again or the forward keeps them, (B, NH, T, T). "auto" is
   * flash: keeping them was not reliably faster at any T from 64 to 1,024. @default "auto"
   */
  kind?: "flash" | "materialised" | "auto";
  /** Threads a workgroup of the kernels without subgroups, a power of two. @default 64 */
  workgroupSize?: number;
}

type Pass = keyof typeof SUBGROUP;

/** What the three dispatches share. */
interface Shape {
  B: number;
  T: number;
  NH: number;
  HS: number;
  saved: boolean;
  /** Whether what all rows of a head read is read from textures. */
  textured: boolean;
}

/**
 * Record causal self-attention: qkv (B, T, 3 C) → out (B, T, C), with C = heads · HS.
 *
 * @throws {RangeError} When a shape or option does not fit.
 */
export function attention(plan: Plan, qkv: Tensor, options: AttentionOptions): Tensor {
  const { heads: NH, dropout } = options;
  const { B, T, HS } = checkShapes(qkv, options);
  const rate = dropout?.rate ?? 0;
  const saved = plan.training && options.kind === "materialised";
  const { device } = plan;
  const textured = prefersTextures(device) && family(device, HS, saved) === "subgroup" &&
    qkv.count >= COPIED_COUNT && fitsTexture(device, qkv.count);
  const shape: Shape = { B, T, NH, HS, saved, textured };
  const readOften = textured ? texture : read;
  const none = (access: "read" | "write", dtype?: "u32") => device.none(access, dtype);

  const out = plan.activation("out", [B, T, NH * HS]);
  const stats = plan.activation("stats", [2, B, NH, T]);
  const columns = Math.ceil(T / 4) * 4;
  const scores = saved ? plan.activation("scores", [B, NH, T, columns]) : undefined;
  const bounds = read(options.lengths ?? options.segments ?? none("read", "u32"));
  const state = read(rate > 0 ? dropout!.state.tensor : none("read", "u32"));
  // Multiply-adds of one product over all pairs that see each other, times two; where segments
  // share a row, which are not known yet, over all that could.
  const pairs = visiblePairs(T, options.band ?? 0);
  const productFlops = 2 * B * NH * pairs * HS;

  const record = (pass: Pass, add: boolean, products: number, bindings: Binding[]) => {
    const { kernel, groups, params } = choose(device, pass, add, shape, options);
    plan.dispatch(kernel, {
      groups,
      params,
      bindings,
      work: { flops: products * productFlops },
    });
  };
  // The kernels of a GPU keep no scores, and have no binding for them.
  const tiled = family(device, HS, saved) === "tile";
  record("forward", false, 2, [
    readOften(qkv),
    bounds,
    state,
    write(out),
    write(stats),
    ...(tiled ? [] : [write(scores ?? none("write"))]),
  ]);

  plan.onBackward(() => {
    const dout = plan.gradient(out);
    const to = dout && plan.accumulate(qkv);
    if (!dout || !to) return;
    const dqkv = to.add ? readWrite(to.tensor) : write(to.tensor);
    const kept = tiled ? [] : [read(scores ?? none("read"))];
    // What a backward needs is five products; those computed a second time are not counted.
    record("dq", to.add, 2, [
      readOften(qkv),
      read(out),
      read(dout),
      bounds,
      state,
      ...kept,
      readWrite(stats),
      dqkv,
    ]);
    record("dkv", to.add, saved ? 2 : 3, [
      readOften(qkv),
      readOften(dout),
      bounds,
      state,
      ...kept,
      read(stats),
      dqkv,
    ]);
  });
  return out;
}

/** The kernel of a pass for a shape, with its workgroups and parameters. */
function choose(
  device: Device,
  pass: Pass,
  add: boolean,
  { B, T, NH, HS, saved, textured }: Shape,
  { band = 0, lengths, segments, dropout, workgroupSize = 64 }: AttentionOptions,
): { kernel: Kernel; groups: [number, number, number]; params: Record<string, number> } {
  const rate = dropout?.rate ?? 0;
  const drops = rate > 0;
  const common = { B, T, NH, band, site: dropout?.site ?? 0, rate, scale: 1 / Math.sqrt(HS) };
  const bounded = (lengths ? 1 : 0) | (segments ? 16 : 0);
  const kind = family(device, HS, saved);
  if (kind === "tile") {
    const HS4 = HS / 4;
    const UD = [4, 2].find((count) => HS4 % count === 0) ?? 1;
    const tune = { HS4, UD, DROPOUT: drops ? 1 : 0 };
    const kernel = pass === "forward"
      ? device.kernel(TILE[pass], tune)
      : device.kernel(TILE[pass], { ...tune, ADD: add ? 1 : 0 });
    const groups = grid(B * NH * Math.ceil(T / TILE_SIDE));
    return { kernel, groups, params: { ...common, flags: bounded } };
  }
  if (kind === "portable") {
    const flags = bounded | (drops ? 2 : 0) | (saved ? 4 : 0) | (add ? 8 : 0);
    return {
      kernel: device.kernel(PORTABLE[pass], {}, { WG_SIZE: workgroupSize }),
      groups: grid(B * NH * T),
      params: { ...common, HS, flags, pad0: 0, pad1: 0, pad2: 0 },
    };
  }
  const HS4 = HS / 4;
  const tile = TILES[pass](HS4);
  const tune: Record<string, number> = {
    LANES: device.lanes,
    HS4,
    ...tile,
    DROPOUT: drops ? 1 : 0,
  };
  if (pass === "forward") tune.SAVE = saved ? 1 : 0;
  else Object.assign(tune, { SAVED: saved ? 1 : 0, ADD: add ? 1 : 0 });
  return {
    kernel: device.kernel((textured ? TEXTURE : SUBGROUP)[pass] as KernelSource, tune),
    groups: grid(B * NH * Math.ceil(T / (device.lanes * tile.R))),
    params: { ...common, flags: bounded },
  };
}

/**
 * Rows a lane (R) and keys or queries a block (K, Q): as much reuse of each load as compiles within
 * a second. None of them changes the order of a sum.
 */
const TILES: Record<Pass, (HS4: number) => { R: number; K?: number; Q?: number }> = {
  forward: (HS4) => ({ R: Math.max(1, Math.min(4, Math.floor(48 / HS4))) }),
  dq: (HS4) =>
    HS4 <= 8 ? { R: 4, K: 2 } : HS4 <= 16 ? { R: 2, K: 2 } : { R: 1, K: HS4 <= 24 ? 4 : 2 },
  dkv: (HS4) => HS4 <= 16 ? { R: 2, Q: 2 } : { R: 1, Q: HS4 <= 24 ? 2 : 1 },
};

/**
 * Names the order in which a row is summed: one name, equal bits, whatever T, B and kind.
 *
 * @param HS Head size.
 */
export function attentionReduction(device: Device, HS: number, workgroupSize = 64): string {
  const kind = family(device, HS);
  return kind === "tile"
    ? `attention${TILE_SIDE}`
    : kind === "subgroup"
    ? "attention4"
    : `attention_portable${workgroupSize}`;
}

/**
 * Whether the kernels that pass keys and values around by shuffles can take such a head.
 *
 * @param HS Head size.
 */
export function usesSubgroups({ lanes }: Device, HS: number): boolean {
  return lanes > 0 && HS % 4 === 0 && HS <= MOST_SUBGROUP_HEAD_SIZE;
}

/** Which kernels attend: a GPU's, where their tiles fit its workgroup memory. */
function family(device: Device, HS: number, saved = false): "tile" | "subgroup" | "portable" {
  const { tuning, limits } = device;
  const most = limits.maxComputeWorkgroupStorageSize;
  // Of the backward, the largest: four tiles of rows, which are padded, and two of scores.
  const tileBytes = 4 * TILE_SIDE * (4 * (HS + 4) + 2 * TILE_SIDE);
  if (tuning === "gpu" && HS % 4 === 0 && tileBytes <= most && !saved) return "tile";
  return usesSubgroups(device, HS) ? "subgroup" : "portable";
}

/** Pairs (t, j) with t - band < j <= t. */
function visiblePairs(T: number, band: number): number {
  const most = band === 0 ? T : Math.min(band, T);
  return most * (most + 1) / 2 + (T - most) * most;
}

function checkShapes(
  qkv: Tensor,
  { heads, band = 0, lengths, segments, dropout }: AttentionOptions,
): { B: number; T: number; HS: number } {
  const fail = (want: string, state: string): never => {
    throw new RangeError(`Cannot record attention: ${want}: got ${state}`);
  };
  const [B, T, width] = qkv.shape;
  if (qkv.shape.length !== 3 || B === undefined || T === undefined || width === undefined) {
    return fail(`"${qkv.label}" must be (B, T, 3 C)`, `(${qkv.shape.join(", ")})`);
  }
  if (!Number.isInteger(heads) || heads < 1 || width % (3 * heads) !== 0) {
    fail(`"${qkv.label}" must end in 3 heads HS with heads = ${heads}`, `${width}`);
  }
  const HS = width / (3 * heads);
  if (HS > MOST_HEAD_SIZE) fail(`a head size of at most ${MOST_HEAD_SIZE}`, `${HS}`);
  if (!Number.isInteger(band) || band < 0) fail(`"band" of 0 or more keys`, `${band}`);
  if (lengths && (lengths.dtype !== "u32" || lengths.count !== B)) {
    fail(`"${lengths.label}" must be (${B}) u32`, `(${lengths.shape.join(", ")}) ${lengths.dtype}`);
  }
  if (segments && (segments.dtype !== "u32" || segments.shape.join() !== [2, B, T].join())) {
    const got = `(${segments.shape.join(", ")}) ${segments.dtype}`;
    fail(`"${segments.label}" must be (2, ${B}, ${T}) u32`, got);
  }
  if (lengths && segments) fail("lengths or segments", "both");
  if (dropout && !(dropout.rate >= 0 && dropout.rate < 1)) {
    fail(`a dropout rate in [0, 1)`, `${dropout.rate}`);
  }
  return { B, T, HS };
}

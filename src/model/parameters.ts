/**
 * The one table of a decoder's tensors: it feeds sizes, initialisation, weight decay, checkpoints
 * and tests. Names and layouts are those of Hugging Face's GPT-2 and OpenAI GPT.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import { Arena, type ArenaEntry, layoutArena, parameter, shardedParameter } from "../gpu/arena.ts";
import type { Device } from "../gpu/device.ts";
import type { DType } from "../gpu/kernel.ts";
import { fromHalves, MOST_F16, STORAGE_BYTES, type StorageType, toHalves } from "../gpu/storage.ts";
import type { Parameter, ShardedParameter } from "../gpu/tensor.ts";
import { PhiloxStream } from "../random/philox.ts";
import type { ModelConfig } from "./config.ts";

/** How a tensor starts: N(0, std²), all ones or all zeros. */
export type Init = { readonly std: number } | "ones" | "zeros";

/** One row of the table. */
export interface ParameterSpec {
  /** As in the published checkpoints. */
  readonly name: string;
  /** Without padding: matrices (in, out), embeddings (rows, C), vectors (C). */
  readonly shape: readonly number[];
  /** Rows as stored: the vocabulary is padded, so that every kernel reads whole vectors. */
  readonly storedShape: readonly number[];
  /** How it starts. */
  readonly init: Init;
  /** Whether weight decay applies: to matrices and embeddings, not to biases and gains. */
  readonly decay: boolean;
  /** How its numbers are kept. @default "f32" */
  readonly dtype?: StorageType;
}

/** Names of a block's tensors, in the layout of the architecture. */
export interface BlockNames {
  /** Norm before attention, (C); after it in a post-LN decoder. */
  readonly ln1: string;
  /** Queries, keys and values in one, (C, 3 C). */
  readonly attention: string;
  /** Projection of attention, (C, C). */
  readonly attentionOut: string;
  /** Norm before the MLP, (C); after it in a post-LN decoder. */
  readonly ln2: string;
  /** First layer of the MLP, (C, 4 C). */
  readonly up: string;
  /** Second layer of the MLP, (4 C, C). */
  readonly down: string;
}

/** Elements that {@linkcode Weights.load} reads at a time; even, as halves come two a word. */
const PAGE_ELEMENTS = 1 << 20;

/** What is written and not submitted is held twice: at most so much of it. */
const MOST_HELD_BYTES = 64 << 20;

/** Stored rows of the token embedding are a multiple of this. */
const VOCAB_ALIGNMENT = 64;

/** Rows of the token embedding as stored; those from V on are zero and never seen outside. */
export function paddedVocab(config: ModelConfig): number {
  return Math.ceil(config.vocabSize / VOCAB_ALIGNMENT) * VOCAB_ALIGNMENT;
}

/** Names of the two embeddings. */
export function embeddingNames(config: ModelConfig): { wte: string; wpe: string } {
  return config.norm === "post"
    ? { wte: "transformer.tokens_embed.weight", wpe: "transformer.positions_embed.weight" }
    : { wte: "transformer.wte.weight", wpe: "transformer.wpe.weight" };
}

/** Names of block `layer`, without `.weight` and `.bias`. */
export function blockNames(layer: number): BlockNames {
  const block = `transformer.h.${layer}`;
  return {
    ln1: `${block}.ln_1`,
    attention: `${block}.attn.c_attn`,
    attentionOut: `${block}.attn.c_proj`,
    ln2: `${block}.ln_2`,
    up: `${block}.mlp.c_fc`,
    down: `${block}.mlp.c_proj`,
  };
}

/** Name of the last layer norm of a pre-LN decoder. */
export const FINAL_NORM = "transformer.ln_f";

/**
 * The table of a decoder, in the order of the published checkpoints.
 *
 * Initialisation: N(0, 0.02²); projections into the residual stream of a pre-LN decoder are scaled
 * by 1/√(2 L) (Radford et al. 2019, section 2.3).
 *
 * @param dtype of matrices and embeddings; gains and biases are few, and always f32
 */
export function parameterTable(
  config: ModelConfig,
  dtype: StorageType = "f32",
): ParameterSpec[] {
  const { channels: C, layers: L } = config;
  const normal: Init = { std: 0.02 };
  const residual: Init = config.norm === "pre" ? { std: 0.02 / Math.sqrt(2 * L) } : normal;
  const table: ParameterSpec[] = [];
  const add = (name: string, shape: number[], init: Init, storedShape = shape) =>
    table.push({
      ...{ name, shape, storedShape, init, decay: shape.length > 1 },
      dtype: shape.length > 1 ? dtype : "f32",
    });
  const linear = (name: string, K: number, N: number, init: Init) => {
    add(`${name}.weight`, [K, N], init);
    if (config.bias) add(`${name}.bias`, [N], "zeros");
  };
  const norm = (name: string) => {
    add(`${name}.weight`, [C], "ones");
    if (config.bias) add(`${name}.bias`, [C], "zeros");
  };
  const { wte, wpe } = embeddingNames(config);
  add(wte, [config.vocabSize, C], normal, [paddedVocab(config), C]);
  add(wpe, [config.contextLength, C], normal);
  for (let layer = 0; layer < L; layer++) {
    const names = blockNames(layer);
    norm(names.ln1);
    linear(names.attention, C, 3 * C, normal);
    linear(names.attentionOut, C, C, residual);
    norm(names.ln2);
    linear(names.up, C, 4 * C, normal);
    linear(names.down, 4 * C, C, residual);
  }
  if (config.norm === "pre") norm(FINAL_NORM);
  return table;
}

/** Number of parameters, padding and the tied head not counted. */
export function parameterCount(config: ModelConfig): number {
  return parameterTable(config).reduce(
    (sum, { shape }) => sum + shape.reduce((product, dim) => product * dim, 1),
    0,
  );
}

/** Bytes of all tensors as they are kept, alignment not counted. */
export function weightBytes(table: readonly ParameterSpec[]): number {
  return table.reduce(
    (sum, { storedShape, dtype = "f32" }) =>
      sum + STORAGE_BYTES[dtype] * storedShape.reduce((product, dim) => product * dim, 1),
    0,
  );
}

/** How {@linkcode Weights} are made. */
export interface WeightsOptions {
  /** Whether there are gradients. */
  readonly trainable: boolean;
  /** Tensors beside the decoder's, after it in the table. */
  readonly heads?: readonly ParameterSpec[];
  /** Of the decoder's matrices and embeddings; those of f16 cannot be trained. @default "f32" */
  readonly dtype?: StorageType;
}

/** Weights on the GPU and, for training, their gradients. */
export class Weights {
  /** Architecture. */
  readonly config: ModelConfig;
  /** One row a tensor, in the order of the published checkpoints. */
  readonly table: readonly ParameterSpec[];
  /** The weights. */
  readonly values: Arena;
  /** Absent when the weights are frozen. */
  readonly grads: Arena | undefined;

  /**
   * Makes the buffers, zeroed; trainable ones with gradients.
   *
   * @throws {RangeError} When weights of f16 are to be trained.
   * @throws {CannotError} When weights of f16 have an odd number of channels, which no word ends.
   */
  constructor(device: Device, config: ModelConfig, options: WeightsOptions) {
    const { trainable, heads = [], dtype = "f32" } = options;
    if (dtype === "f16" && trainable) {
      throw new RangeError("Cannot make weights: f32 where they are trained: got f16");
    }
    if (dtype === "f16" && config.channels % 2 !== 0) {
      const state = `it has ${config.channels}`;
      throw new CannotError("keep weights in f16", "want an even number of channels", state);
    }
    this.config = config;
    this.table = [...parameterTable(config, dtype), ...heads];
    const entries: ArenaEntry[] = this.table.map(({ storedShape: shape, ...spec }) => ({
      ...spec,
      shape,
    }));
    const layout = layoutArena(entries, device.limits.maxStorageBufferBindingSize);
    this.values = new Arena(device, "weights", layout);
    this.grads = trainable ? new Arena(device, "grads", layout) : undefined;
  }

  /** A tensor that fits one binding. */
  parameter(name: string): Parameter {
    return parameter(name, this.values, this.grads);
  }

  /** Weight and, where the configuration has one, bias of a layer. */
  layer(name: string): { weight: Parameter; bias?: Parameter } {
    const weight = this.parameter(`${name}.weight`);
    return this.config.bias ? { weight, bias: this.parameter(`${name}.bias`) } : { weight };
  }

  /** A matrix in windows of rows. */
  sharded(name: string): ShardedParameter {
    return shardedParameter(name, this.values, this.grads);
  }

  /**
   * Writes one tensor, (rows, …) in the order of its shape; padded rows stay zero.
   *
   * @throws {RangeError} When the number of elements is not that of the shape.
   */
  write(device: Device, name: string, data: Float32Array, into: Arena = this.values): void {
    const spec = this.table.find((candidate) => candidate.name === name);
    const count = spec?.shape.reduce((product, dim) => product * dim, 1);
    if (spec === undefined || data.length !== count) {
      throw new RangeError(
        `Cannot write "${name}": ${count ?? "a tensor of this model, with its"} elements: ` +
          `got ${data.length}`,
      );
    }
    this.#writePage(device, name, data, 0, into);
  }

  /**
   * Fills every tensor from a source of pages, so that the host never holds all of a tensor.
   *
   * @param read elements of a tensor, row-major; called in the order of the table
   * @param between is awaited after every page
   * @throws {CannotError} When a number is too large for f16.
   */
  async load(
    device: Device,
    read: (name: string, range: { start: number; count: number }) => Float32Array,
    between: () => Promise<void> = () => Promise.resolve(),
  ): Promise<void> {
    let heldBytes = 0; // by WebGPU, until a submission
    for (const { name, shape } of this.table) {
      const total = shape.reduce((product, dim) => product * dim, 1);
      for (let start = 0; start < total; start += PAGE_ELEMENTS) {
        const page = read(name, { start, count: Math.min(PAGE_ELEMENTS, total - start) });
        this.#writePage(device, name, page, start, this.values);
        heldBytes += page.byteLength;
        if (heldBytes >= MOST_HELD_BYTES) {
          await device.flush();
          heldBytes = 0;
        }
        await between();
      }
    }
    await device.flush();
  }

  /** Writes the elements from `start` on, which may be of several windows. */
  #writePage(device: Device, name: string, data: Float32Array, start: number, into: Arena): void {
    let first = 0; // element of the tensor that the window starts with
    for (const window of into.windows(name)) {
      const from = Math.max(first, start);
      const part = data.subarray(from - start, Math.max(from, first + window.count) - start);
      if (part.length > 0) device.write(window, stored(part, window.dtype, name), from - first);
      first += window.count;
    }
  }

  /** Reads one tensor without its padding. */
  async read(device: Device, name: string, from: Arena = this.values): Promise<Float32Array> {
    const spec = this.table.find((candidate) => candidate.name === name);
    if (!spec) throw new RangeError(`Cannot read "${name}": a tensor of this model`);
    const data = new Float32Array(spec.shape.reduce((product, dim) => product * dim, 1));
    let at = 0;
    for (const window of from.windows(name)) {
      const part = window.dtype === "f16"
        ? fromHalves(await device.readBytes(window, "f16"))
        : await device.read(window);
      data.set(part.subarray(0, Math.min(part.length, data.length - at)), at);
      at += part.length;
      if (at >= data.length) break;
    }
    return data;
  }

  /** Fills every tensor as the table says; tensor i draws from Philox stream i of the seed. */
  initialise(device: Device, seed: number): void {
    this.table.forEach(({ name, shape, init }, index) => {
      const data = new Float32Array(shape.reduce((product, dim) => product * dim, 1));
      if (init === "ones") data.fill(1);
      else if (init !== "zeros") new PhiloxStream(seed, index).fillNormal(data, 0, init.std);
      this.write(device, name, data);
    });
  }

  /** Gives the buffers back. */
  destroy(): void {
    this.values.destroy();
    this.grads?.destroy();
  }
}

/** Elements as a tensor keeps them. @throws {CannotError} When one is too large for f16 */
function stored(data: Float32Array, dtype: DType, name: string): Float32Array | Uint16Array {
  if (dtype !== "f16") return data;
  const { halves, tooLarge } = toHalves(data);
  if (tooLarge === undefined) return halves;
  throw new CannotError(
    `keep "${name}" in f16`,
    `want numbers of at most ${MOST_F16} in size; f32 keeps larger ones`,
    `it has ${tooLarge}`,
  );
}

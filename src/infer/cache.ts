/**
 * The cache of keys and values: blocks of token slots for every layer, and the table that says
 * which text has which.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import type { Device } from "../gpu/device.ts";
import { STORAGE_BYTES, type StorageType } from "../gpu/storage.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { ModelConfig } from "../model/config.ts";
import { BLOCK_TOKENS, type CacheLayer } from "../ops/attention_cached.ts";
import { blocksOf } from "./blocks.ts";

/** Where nothing is said a cache is at most so large, if a context fits. */
const DEFAULT_BYTES = 2 ** 30;

/** Bytes that the cache of one token takes. */
export function bytesPerToken(
  { layers, channels }: ModelConfig,
  dtype: StorageType = "f32",
): number {
  return layers * 2 * channels * STORAGE_BYTES[dtype];
}

/**
 * Blocks of a cache.
 *
 * @param options `slots`: texts at a time; `cacheBytes`: the budget. Without one, a whole context
 * for each text, at most 1 GiB; `dtype`: how keys and values are kept.
 * @throws {CannotError} When not even one context fits, in the budget or in the adapter's bindings,
 * or a cache of f16 is to have an odd number of channels.
 */
export function cacheBlocks(
  { limits }: Pick<Device, "limits">,
  config: ModelConfig,
  options: { slots: number; cacheBytes?: number | undefined; dtype?: StorageType | undefined },
): number {
  const { slots, cacheBytes, dtype = "f32" } = options;
  const context = blocksOf(config.contextLength);
  const blockBytes = BLOCK_TOKENS * bytesPerToken(config, dtype);
  const layerBytes = BLOCK_TOKENS * config.channels * STORAGE_BYTES[dtype]; // of the keys of a block
  const bindable = Math.floor(limits.maxStorageBufferBindingSize / layerBytes);
  const budget = cacheBytes ?? Math.max(DEFAULT_BYTES, context * blockBytes);
  const blocks = Math.floor(budget / blockBytes);
  const mostBytes = bindable * blockBytes;
  const fail = (want: string, state: string): never => {
    throw new CannotError("make a cache of keys and values", want, state);
  };
  if (dtype === "f16" && config.channels % 2 !== 0) {
    fail("want an even number of channels for one of f16", `the model has ${config.channels}`);
  }
  if (bindable < context) {
    fail(
      `want ${context * layerBytes} bytes in a binding, for a context of ${config.contextLength}`,
      `this adapter has ${limits.maxStorageBufferBindingSize} (maxStorageBufferBindingSize)`,
    );
  }
  if (blocks < context) {
    fail(
      `want ${context * blockBytes} bytes or more, for a context of ${config.contextLength} tokens`,
      `got ${budget}`,
    );
  }
  if (cacheBytes !== undefined && blocks > bindable) {
    fail(`want at most ${mostBytes} bytes, what this adapter can bind`, `got ${cacheBytes}`);
  }
  return cacheBytes === undefined ? Math.min(blocks, bindable, slots * context) : blocks;
}

/** Buffers of keys and values, and the table; which block is whose is the scheduler's to say. */
export class KeyValueCache {
  /** One a layer, each keys and values (slots, C). */
  readonly layers: readonly CacheLayer[];
  /** Block of each BLOCK_TOKENS positions of a text. */
  readonly table: Tensor; // (texts, blocks of a context), u32
  readonly #device: Device;
  readonly #columns: number;

  /** Makes the buffers, for so many texts at a time. */
  constructor(
    device: Device,
    config: ModelConfig,
    size: { texts: number; blocks: number; dtype?: StorageType | undefined },
  ) {
    const { channels: C } = config;
    const { dtype = "f32" } = size;
    const slots = size.blocks * BLOCK_TOKENS;
    this.#device = device;
    this.#columns = blocksOf(config.contextLength);
    this.layers = Array.from({ length: config.layers }, (_, layer) => ({
      keys: device.tensor(`keys ${layer}`, [slots, C], dtype),
      values: device.tensor(`values ${layer}`, [slots, C], dtype),
    }));
    this.table = device.tensor("blocks", [size.texts, this.#columns], "u32");
  }

  /** Says which blocks a text has from its `from`th on; takes effect before the next submission. */
  assign(text: number, blocks: readonly number[], from: number): void {
    if (blocks.length === 0) return;
    this.#device.write(this.table, Uint32Array.from(blocks), text * this.#columns + from);
  }

  /** Gives the buffers back. */
  destroy(): void {
    for (const { keys, values } of this.layers) {
      keys.destroy();
      values.destroy();
    }
    this.table.destroy();
  }
}

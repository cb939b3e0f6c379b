/**
 * The cache of keys and values: blocks of token slots for every layer, handed out to sequences.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { ModelConfig } from "../model/config.ts";
import { BLOCK_TOKENS, type CacheLayer } from "../ops/attention_cached.ts";

/** How much a {@linkcode KeyValueCache} holds. */
export interface CacheSize {
  /** Sequences at a time. @default 1 */
  sequences?: number;
  /** Tokens of all sequences together. @default a whole context for each sequence */
  tokens?: number;
}

/** Bytes that the cache of one token takes. */
export function bytesPerToken({ layers, channels }: ModelConfig): number {
  return layers * 2 * channels * 4;
}

/** Blocks of keys and values, and the table that says which sequence has which. */
export class KeyValueCache {
  /** Of the model that the cache serves. */
  readonly config: ModelConfig;
  /** One a layer, each keys and values (slots, C) f32. */
  readonly layers: readonly CacheLayer[];
  /** Block of each BLOCK_TOKENS positions of a sequence. */
  readonly table: Tensor; // (sequences, blocks of a context), u32
  readonly #device: Device;
  readonly #free: number[];
  readonly #blocks: (number[] | undefined)[]; // of each sequence that is open
  readonly #columns: number;

  /**
   * Makes the buffers, with all blocks free.
   *
   * @throws {RangeError} When a layer is more than one binding holds.
   */
  constructor(device: Device, config: ModelConfig, size: CacheSize = {}) {
    const { contextLength, channels: C } = config;
    const { sequences = 1, tokens = sequences * blocksOf(contextLength) * BLOCK_TOKENS } = size;
    this.config = config;
    this.#device = device;
    this.#columns = blocksOf(contextLength);
    const blocks = blocksOf(tokens);
    const slots = blocks * BLOCK_TOKENS;
    const most = device.limits.maxStorageBufferBindingSize;
    if (slots * C * 4 > most) {
      throw new RangeError(
        `Cannot make a cache of ${tokens} tokens: at most ${Math.floor(most / (C * 4))} of ` +
          `${C} channels (maxStorageBufferBindingSize): got ${slots}`,
      );
    }
    this.layers = Array.from({ length: config.layers }, (_, layer) => ({
      keys: device.tensor(`keys ${layer}`, [slots, C]),
      values: device.tensor(`values ${layer}`, [slots, C]),
    }));
    this.table = device.tensor("blocks", [sequences, this.#columns], "u32");
    this.#free = Array.from({ length: blocks }, (_, index) => blocks - 1 - index);
    this.#blocks = new Array(sequences).fill(undefined);
  }

  /** Blocks that no sequence has. */
  get freeBlocks(): number {
    return this.#free.length;
  }

  /** A row of the table for a new sequence, undefined when all are taken. */
  open(): number | undefined {
    const sequence = this.#blocks.indexOf(undefined);
    if (sequence === -1) return undefined;
    this.#blocks[sequence] = [];
    return sequence;
  }

  /**
   * Sees to it that a sequence has blocks for its first `tokens` positions.
   *
   * @returns false when there are not enough free ones; the sequence then has what it had.
   * @throws {RangeError} When the sequence is not open, or that is more than the context.
   */
  reserve(sequence: number, tokens: number): boolean {
    const held = this.#blocks[sequence];
    if (!held || tokens > this.config.contextLength) {
      throw new RangeError(
        `Cannot reserve ${tokens} tokens of sequence ${sequence}: an open one, at most ` +
          `${this.config.contextLength} tokens: got ${held ? tokens : "none that is open"}`,
      );
    }
    const wanted = blocksOf(tokens) - held.length;
    if (wanted <= 0) return true;
    if (wanted > this.#free.length) return false;
    const from = held.length;
    held.push(...this.#free.splice(this.#free.length - wanted).reverse());
    const added = Uint32Array.from(held.slice(from));
    this.#device.write(this.table, added, sequence * this.#columns + from);
    return true;
  }

  /** Takes a sequence's blocks back. */
  close(sequence: number): void {
    this.#free.push(...(this.#blocks[sequence] ?? []).reverse());
    this.#blocks[sequence] = undefined;
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

function blocksOf(tokens: number): number {
  return Math.ceil(tokens / BLOCK_TOKENS);
}

/**
 * Text of pre-training that is mixed into updates of a policy.
 *
 * @module
 */
import { RandomWindows } from "../data/batches.ts";
import type { TokenSplit } from "../data/shards.ts";
import type { ModelConfig } from "../model/config.ts";
import type { PpoConfig } from "./ppo_config.ts";
import { type ResponseBatch, responseBatch } from "./sft_batches.ts";

/** Tokens of a row. */
export function ptxTokens(
  { ptxTokens = Infinity }: Pick<PpoConfig, "ptxTokens">,
  { contextLength }: Pick<ModelConfig, "contextLength">,
): number {
  return Math.min(ptxTokens, contextLength);
}

/** Rows of text for each update: a function of the seed and the update alone. */
export class PtxText {
  readonly #split: TokenSplit;
  readonly #windows: RandomWindows;
  readonly #count: number;
  readonly #rows: number;
  readonly #T: number;

  /** Of a split of tokens. @throws {CannotError} When it is shorter than a row. */
  constructor(split: TokenSplit, config: PpoConfig, model: ModelConfig) {
    this.#split = split;
    this.#T = ptxTokens(config, model);
    this.#windows = new RandomWindows(split, { T: this.#T, seed: config.seed });
    this.#count = config.miniRows * config.ptxRatio;
    this.#rows = config.microRows ?? config.miniRows;
  }

  /** The micro-batches of an update, counted from 0; all of their tokens are learnt. */
  batches(update: number): ResponseBatch[] {
    const [R, T] = [this.#rows, this.#T];
    return Array.from({ length: this.#count / R }, (_, i) => {
      const rows = Array.from({ length: R }, (_, r) => this.#row(update * this.#count + i * R + r));
      return responseBatch(rows, { R, T });
    });
  }

  #row(index: number) {
    const ids = new Uint32Array(this.#T);
    this.#split.read(this.#windows.start(index), ids);
    return { ids, isResponse: new Uint8Array(this.#T).fill(1) };
  }
}

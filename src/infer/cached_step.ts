/**
 * One replay of a decoder against the cache: a chunk of a prompt, or the next token of some
 * sequences.
 *
 * Recorded once for a number of rows; ids, sequences and positions are buffers, so that every step
 * of every sequence is the same plan.
 *
 * @module
 */
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import type { ActivationPool } from "../gpu/pool.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { decoder } from "../model/decoder.ts";
import { embeddingNames, type Weights } from "../model/parameters.ts";
import { DEAD_ROW } from "../ops/attention_cached.ts";
import { lmHeadLogits } from "../ops/lm_head.ts";
import { gatherRows } from "../ops/rows.ts";
import type { KeyValueCache } from "./cache.ts";

/** A row of a step. */
export interface StepRow {
  /** Token. */
  readonly id: number;
  /** Row of the cache's table. */
  readonly sequence: number;
  /** In the sequence, from 0. */
  readonly position: number;
}

/** Shape of a {@linkcode CachedStep}. */
export interface CachedStepOptions {
  /** Rows of a replay; fewer may be given. */
  rows: number;
  /** Whether the rows are successive tokens of one sequence. */
  chunk: boolean;
  /** Rows that logits are wanted of. @default 1 for a chunk, else all */
  outputs?: number;
  /** Shared with plans that never run at the same time. */
  pool?: ActivationPool | undefined;
}

/** A recorded decoder and its inputs. */
export class CachedStep {
  /** Rows of a replay. */
  readonly rows: number;
  /** (outputs, ld): the first V columns are live. */
  readonly logits: Tensor;
  /** The recorded plan; profile or replay it. */
  readonly plan: Plan;
  readonly #device: Device;
  readonly #inputs: Record<"ids" | "positions" | "sequences", Tensor>; // (rows, 1), (rows), (rows)
  readonly #outputs: Tensor | undefined; // (outputs)

  private constructor(
    device: Device,
    weights: Weights,
    cache: KeyValueCache,
    options: CachedStepOptions,
  ) {
    const { rows: N, chunk, outputs = chunk ? 1 : N } = options;
    this.rows = N;
    this.#device = device;
    this.#inputs = {
      ids: device.tensor("ids", [N, 1], "u32"),
      positions: device.tensor("positions", [N], "u32"),
      sequences: device.tensor("sequences", [N], "u32"),
    };
    const { ids, positions, sequences } = this.#inputs;
    const { config } = weights;
    this.plan = new Plan(device, { label: `${chunk ? "chunk" : "step"} of ${N}` });
    const rows = { positions, sequences, table: cache.table, chunk };
    let hidden = decoder(this.plan, weights, { ids, cache: { layers: cache.layers, rows } });
    if (outputs < N) {
      this.#outputs = device.tensor("outputs", [outputs], "u32");
      hidden = gatherRows(this.plan, hidden, this.#outputs);
    }
    const wte = weights.sharded(embeddingNames(config).wte);
    const V = config.vocabSize;
    this.logits = this.plan.keep(lmHeadLogits(this.plan, hidden, { wte }, { V }));
  }

  /** Records and compiles a step. */
  static async create(
    device: Device,
    weights: Weights,
    cache: KeyValueCache,
    options: CachedStepOptions,
  ): Promise<CachedStep> {
    const step = new CachedStep(device, weights, cache, options);
    try {
      await step.plan.seal(options.pool);
    } catch (error) {
      step.destroy();
      throw error;
    }
    return step;
  }

  /**
   * Writes what the next replay is to take; the cache has blocks for it already.
   *
   * @param outputs indices of the rows whose logits are wanted @default the last one
   * @throws {RangeError} When they are too many.
   */
  write(rows: readonly StepRow[], outputs: readonly number[] = [rows.length - 1]): void {
    const N = this.rows;
    if (rows.length > N || rows.length === 0) {
      throw new RangeError(`Cannot write a step: 1 to ${N} rows: got ${rows.length}`);
    }
    const of = (pick: (row: StepRow) => number, none: number) =>
      Uint32Array.from({ length: N }, (_, n) => n < rows.length ? pick(rows[n]!) : none);
    this.#device.write(this.#inputs.ids, of(({ id }) => id, 0));
    this.#device.write(this.#inputs.positions, of(({ position }) => position, DEAD_ROW));
    this.#device.write(this.#inputs.sequences, of(({ sequence }) => sequence, 0));
    if (this.#outputs) this.#device.write(this.#outputs, Uint32Array.from(outputs));
  }

  /** Gives everything back. */
  destroy(): void {
    this.plan.destroy();
    for (const tensor of Object.values(this.#inputs)) tensor.destroy();
    this.#outputs?.destroy();
  }
}

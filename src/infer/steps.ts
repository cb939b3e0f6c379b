/**
 * The plans of an engine: a decode step of some slots, a chunk of prompts, a chunk that is scored.
 *
 * Each is recorded once for a number of rows; slots, ids and positions are buffers, so that every
 * step of every text is the same plan. Pipelines are shared, so that one more size costs little.
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
import { decodeInputs, sampleTokens, scoreTokens } from "../ops/sampling.ts";
import type { SlotState } from "../ops/slots.ts";
import type { KeyValueCache } from "./cache.ts";
import type { Part } from "./scheduler.ts";

/** What all plans of an engine share. */
export interface StepContext {
  /** Where they run. */
  readonly device: Device;
  /** Of the decoder. */
  readonly weights: Weights;
  /** Keys and values of all texts. */
  readonly cache: KeyValueCache;
  /** Texts that are being written. */
  readonly slots: SlotState;
  /** Of activations; the plans never run at the same time. */
  readonly pool: ActivationPool;
}

/** The next token of up to `rows` slots. */
export class DecodeStep {
  /** Replays as one step. */
  readonly plan: Plan;
  /** (rows, RESULT_FIELDS) u32, what `sampleTokens` tells. */
  readonly results: Tensor;
  readonly #device: Device;
  readonly #rows: Tensor; // (rows), slots

  private constructor({ device, weights, cache, slots }: StepContext, rows: number) {
    this.#device = device;
    this.#rows = device.tensor("rows", [rows], "u32");
    this.plan = new Plan(device, { label: `decode ${rows}` });
    const { ids, positions, sequences } = decodeInputs(this.plan, slots, this.#rows);
    const at = { positions, sequences, table: cache.table, chunk: false };
    const hidden = decoder(this.plan, weights, { ids, cache: { layers: cache.layers, rows: at } });
    const logits = head(this.plan, weights, hidden);
    const V = weights.config.vocabSize;
    this.results = this.plan.keep(sampleTokens(this.plan, logits, slots, this.#rows, { V }));
  }

  /** Records and compiles a step. */
  static create(context: StepContext, rows: number): Promise<DecodeStep> {
    return sealed(new DecodeStep(context, rows), context.pool);
  }

  /** Says whose tokens are next; rows after them are dead. */
  write(slots: readonly number[]): void {
    const rows = new Uint32Array(this.#rows.count).fill(DEAD_ROW);
    rows.set(slots);
    this.#device.write(this.#rows, rows);
  }

  /** Gives everything back. */
  destroy(): void {
    this.plan.destroy();
    this.#rows.destroy();
  }
}

/** What a {@linkcode ChunkStep} does. */
export interface ChunkOptions {
  /** Rows of a replay; fewer may be given. */
  readonly rows: number;
  /** Whether rows may be of several texts; else they are successive tokens of one. */
  readonly packed: boolean;
  /** Whether the tokens that follow are scored. */
  readonly score: boolean;
}

/** Takes tokens of prompts into the cache. */
export class ChunkStep {
  /** Takes a chunk in when replayed. */
  readonly plan: Plan;
  /** (rows, RESULT_FIELDS) u32, what `scoreTokens` tells; undefined where nothing is scored. */
  readonly results: Tensor | undefined;
  readonly #device: Device;
  readonly #rows: number;
  readonly #inputs: Record<"ids" | "positions" | "sequences", Tensor>; // (rows, 1), (rows), (rows)
  readonly #scored: Record<"targets" | "top", Tensor> | undefined; // (rows) each

  private constructor({ device, weights, cache }: StepContext, options: ChunkOptions) {
    const { rows: N, packed, score } = options;
    this.#device = device;
    this.#rows = N;
    this.#inputs = {
      ids: device.tensor("ids", [N, 1], "u32"),
      positions: device.tensor("positions", [N], "u32"),
      sequences: device.tensor("sequences", [N], "u32"),
    };
    const { ids, positions, sequences } = this.#inputs;
    this.plan = new Plan(device, { label: labelOf(options) });
    const at = { positions, sequences, table: cache.table, chunk: !packed };
    const hidden = decoder(this.plan, weights, { ids, cache: { layers: cache.layers, rows: at } });
    if (!score) return;
    this.#scored = {
      targets: device.tensor("targets", [N], "u32"),
      top: device.tensor("top", [N], "u32"),
    };
    const { targets, top } = this.#scored;
    const logits = head(this.plan, weights, hidden);
    const V = weights.config.vocabSize;
    this.results = this.plan.keep(scoreTokens(this.plan, logits, targets, { V, top }));
  }

  /** Records and compiles a step. */
  static create(context: StepContext, options: ChunkOptions): Promise<ChunkStep> {
    return sealed(new ChunkStep(context, options), context.pool);
  }

  /** Says what the next replay takes in; rows after it are dead. */
  write(parts: readonly Part[]): void {
    const N = this.#rows;
    const ids = new Uint32Array(N);
    const positions = new Uint32Array(N).fill(DEAD_ROW);
    const sequences = new Uint32Array(N);
    const targets = new Uint32Array(N).fill(DEAD_ROW);
    const top = new Uint32Array(N);
    let n = 0;
    for (const { run, from, to } of parts) {
      for (let at = from; at < to; at++, n++) {
        ids[n] = run.text[at]!;
        positions[n] = at;
        sequences[n] = run.slot;
        targets[n] = run.text[at + 1]!;
        top[n] = run.choice.job.request.top ?? 0;
      }
    }
    const device = this.#device;
    device.write(this.#inputs.ids, ids);
    device.write(this.#inputs.positions, positions);
    device.write(this.#inputs.sequences, sequences);
    if (!this.#scored) return;
    device.write(this.#scored.targets, targets);
    device.write(this.#scored.top, top);
  }

  /** Gives everything back. */
  destroy(): void {
    this.plan.destroy();
    for (const tensor of Object.values(this.#inputs)) tensor.destroy();
    for (const tensor of Object.values(this.#scored ?? {})) tensor.destroy();
  }
}

/** Plans by their sizes, recorded when they are first needed. */
export class Steps {
  readonly #context: StepContext;
  readonly #decode = new Map<number, DecodeStep>();
  readonly #chunks = new Map<string, ChunkStep>();

  /** None yet. */
  constructor(context: StepContext) {
    this.#context = context;
  }

  /** The decode step of so many rows. */
  async decode(rows: number): Promise<DecodeStep> {
    const known = this.#decode.get(rows);
    if (known) return known;
    const made = await DecodeStep.create(this.#context, rows);
    this.#decode.set(rows, made);
    return made;
  }

  /** The chunk of these rows. */
  async chunk(options: ChunkOptions): Promise<ChunkStep> {
    const label = labelOf(options);
    const known = this.#chunks.get(label);
    if (known) return known;
    const made = await ChunkStep.create(this.#context, options);
    this.#chunks.set(label, made);
    return made;
  }

  /** Gives everything back. */
  destroy(): void {
    for (const step of [...this.#decode.values(), ...this.#chunks.values()]) step.destroy();
    this.#decode.clear();
    this.#chunks.clear();
  }
}

function head(plan: Plan, weights: Weights, hidden: Tensor): Tensor {
  const { config } = weights;
  const wte = weights.sharded(embeddingNames(config).wte);
  return lmHeadLogits(plan, hidden, { wte }, { V: config.vocabSize });
}

function labelOf({ rows, packed, score }: ChunkOptions): string {
  return `${score ? "scored " : ""}${packed ? "packed" : "chunk"} ${rows}`;
}

async function sealed<T extends { readonly plan: Plan; destroy(): void }>(
  step: T,
  pool: ActivationPool,
): Promise<T> {
  try {
    await step.plan.seal(pool);
  } catch (error) {
    step.destroy();
    throw error;
  }
  return step;
}

/**
 * Token by token: a prompt goes through the decoder in chunks, then each new token in a step of one
 * row, both against the cache. One text at a time.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import type { Device } from "../gpu/device.ts";
import type { ActivationPool } from "../gpu/pool.ts";
import { ReadbackRing } from "../gpu/ring.ts";
import type { Weights } from "../model/parameters.ts";
import { KeyValueCache } from "./cache.ts";
import { CachedStep, type StepRow } from "./cached_step.ts";
import { checkSampling, sample, type Sampled, type SamplingOptions } from "./sampler.ts";

/** What to generate, and how. */
export interface GenerateOptions extends SamplingOptions {
  /** At most so many tokens. @default as many as the context has room for */
  maxTokens?: number | undefined;
  /** Tokens that end the text; they are not part of it. @default none */
  stopIds?: ReadonlySet<number>;
  /**
   * What to do where the context ends: stop, or go on with the last half of the text as the prompt.
   * @default false
   */
  slide?: boolean;
}

/** Why a text ended: a stop token, or maxTokens or the context reached. */
export type FinishReason = "stop" | "length";

/** What {@linkcode TokenGenerator.generate} yields; the end comes last, once. */
export type TokenEvent =
  | ({ readonly kind: "token" } & Sampled)
  | {
    readonly kind: "end";
    readonly reason: FinishReason;
    /** Whether it was the context's end, not maxTokens. */
    readonly atContextEnd: boolean;
  };

/** Rows of a prompt's chunks; what is left over goes through the smallest. */
const CHUNK_ROWS = [128, 32] as const;

/** A decoder that writes on from prompts. */
export class TokenGenerator {
  /** Of the decoder. */
  readonly weights: Weights;
  readonly #device: Device;
  readonly #cache: KeyValueCache;
  readonly #pool: ActivationPool | undefined;
  readonly #ring: ReadbackRing<null>;
  readonly #steps = new Map<number, CachedStep>(); // by rows; 1 is the step of a token
  #busy = false;

  /**
   * Makes the cache of one context. Plans are recorded when they are first needed; they read the
   * weights where they are, so that a text always comes from the newest.
   *
   * @param options `pool`: shared with plans that never run at the same time
   */
  constructor(device: Device, weights: Weights, options: { pool?: ActivationPool } = {}) {
    this.weights = weights;
    this.#device = device;
    this.#pool = options.pool;
    this.#cache = new KeyValueCache(device, weights.config);
    const slotBytes = 4 * (weights.config.vocabSize + 64); // a row of logits, padded
    this.#ring = new ReadbackRing(device, { slots: 1, slotBytes });
  }

  /**
   * Writes on from a prompt, until a stop token, maxTokens or the end of the context.
   *
   * Whoever stops listening ends it; the cache is free again then.
   *
   * @throws {CannotError} When the prompt is empty or leaves no room in the context.
   * @throws {RangeError} When an id is unknown or an option out of range.
   * @throws {Error} When a text is under way.
   */
  async *generate(
    prompt: ArrayLike<number>,
    options: GenerateOptions = {},
  ): AsyncGenerator<TokenEvent, void> {
    const { maxTokens = Infinity, stopIds = new Set(), slide = false } = options;
    const sampling = checkSampling(options);
    this.#checkPrompt(prompt, maxTokens);
    if (this.#busy) throw new Error("Cannot generate: one text at a time: one is under way");
    this.#busy = true;
    const { contextLength } = this.weights.config;
    const text = Array.from(prompt);
    const seen = new Set(text);
    let sequence = this.#open();
    try {
      let start = 0; // position in the text of the first token in the cache
      let logits = await this.#prefill(sequence, text);
      for (let count = 0; count < maxTokens; count++) {
        const chosen = sample(logits, sampling, { position: text.length, seen });
        if (stopIds.has(chosen.id)) {
          return yield { kind: "end", reason: "stop", atContextEnd: false };
        }
        yield { kind: "token", ...chosen };
        text.push(chosen.id);
        seen.add(chosen.id);
        if (count + 1 >= maxTokens) break; // what comes next is not asked for
        if (text.length - start < contextLength) {
          const row = { id: chosen.id, sequence, position: text.length - 1 - start };
          logits = await this.#replay(1, [row]);
        } else if (slide && contextLength > 1) {
          start = text.length - Math.ceil(contextLength / 2);
          this.#cache.close(sequence);
          sequence = this.#open();
          logits = await this.#prefill(sequence, text.slice(start));
        } else return yield { kind: "end", reason: "length", atContextEnd: true };
      }
      yield { kind: "end", reason: "length", atContextEnd: false };
    } finally {
      this.#cache.close(sequence);
      this.#busy = false;
    }
  }

  #checkPrompt(prompt: ArrayLike<number>, maxTokens: number): void {
    const { contextLength, vocabSize } = this.weights.config;
    if (maxTokens !== Infinity && (!Number.isInteger(maxTokens) || maxTokens < 1)) {
      throw new RangeError(`Cannot generate: maxTokens a count from 1: got ${maxTokens}`);
    }
    if (prompt.length === 0 || prompt.length >= contextLength) {
      throw new CannotError(
        "generate",
        `want a prompt of 1 to ${contextLength - 1} tokens, in a context of ${contextLength}`,
        `it has ${prompt.length}`,
      );
    }
    for (let i = 0; i < prompt.length; i++) {
      const id = prompt[i]!;
      if (Number.isInteger(id) && id >= 0 && id < vocabSize) continue;
      throw new RangeError(
        `Cannot generate: token ids from 0 to ${vocabSize - 1}: got ${id} at ${i}`,
      );
    }
  }

  #open(): number {
    const sequence = this.#cache.open()!; // it is the only one
    this.#cache.reserve(sequence, this.weights.config.contextLength);
    return sequence;
  }

  /** Takes tokens into the cache, from position 0. @returns logits after the last */
  async #prefill(sequence: number, ids: readonly number[]): Promise<Float32Array> {
    let logits: Float32Array | undefined;
    for (let at = 0; at < ids.length;) {
      const size = chunkRows(ids.length - at);
      const part = ids.slice(at, at + size);
      const rows = part.map((id, n) => ({ id, sequence, position: at + n }));
      at += part.length;
      if (at === ids.length) logits = await this.#replay(size, rows);
      else await this.#submit(size, rows);
    }
    return logits!;
  }

  async #submit(size: number, rows: readonly StepRow[]): Promise<CachedStep> {
    const step = await this.#step(size);
    step.write(rows);
    step.plan.replay();
    return step;
  }

  /** Runs a step and waits for the logits (V) after its last row. */
  async #replay(size: number, rows: readonly StepRow[]): Promise<Float32Array> {
    const step = await this.#step(size);
    step.write(rows);
    const encoder = this.#device.gpu.createCommandEncoder();
    step.plan.encode(encoder);
    this.#ring.record(encoder, [step.logits], null);
    this.#device.gpu.queue.submit([encoder.finish()]);
    this.#ring.submitted();
    const arrival = await this.#ring.next();
    return (arrival!.values[0] as Float32Array).subarray(0, this.weights.config.vocabSize);
  }

  async #step(rows: number): Promise<CachedStep> {
    const known = this.#steps.get(rows);
    if (known) return known;
    const step = await CachedStep.create(this.#device, this.weights, this.#cache, {
      rows,
      chunk: rows > 1,
      pool: this.#pool,
    });
    this.#steps.set(rows, step);
    return step;
  }

  /** Gives everything back but the weights. */
  destroy(): void {
    for (const step of this.#steps.values()) step.destroy();
    this.#steps.clear();
    this.#ring.destroy();
    this.#cache.destroy();
  }
}

/** Rows of the step that takes the next of so many tokens: no choice changes a bit. */
function chunkRows(left: number): number {
  if (left === 1) return 1;
  return CHUNK_ROWS.find((rows) => rows <= left) ?? CHUNK_ROWS.at(-1)!;
}

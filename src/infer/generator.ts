/**
 * One text at a time, as an asynchronous sequence of tokens: an {@linkcode Engine} with one slot.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import type { Device } from "../gpu/device.ts";
import type { ActivationPool } from "../gpu/pool.ts";
import type { Weights } from "../model/parameters.ts";
import { Engine } from "./engine.ts";
import type { TextEvent } from "./request.ts";
import { checkSampling, type Sampled, type SamplingOptions } from "./sampler.ts";

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

/** A text that goes on past the context draws with choice numbers so far apart. */
const SLIDE_CHOICES = 2 ** 16;

/** A decoder that writes on from prompts. */
export class TokenGenerator {
  /** Of the decoder. */
  readonly weights: Weights;
  readonly #engine: Engine;
  #busy = false;

  /**
   * Makes the cache of one context. Plans are recorded when they are first needed; they read the
   * weights where they are, so that a text always comes from the newest.
   *
   * @param options `pool`: shared with plans that never run at the same time
   * @throws {CannotError} When the adapter cannot bind the cache.
   */
  constructor(device: Device, weights: Weights, options: { pool?: ActivationPool } = {}) {
    this.weights = weights;
    // Nothing is kept of a text: the weights may be others by the next.
    this.#engine = Engine.create(device, weights, { ...options, slots: 1, prefixCache: false });
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
    let text = Array.from(prompt);
    try {
      for (let left = maxTokens; left > 0;) {
        const most = Math.min(left, contextLength);
        const request = { prompt: text, maxTokens: most, sampling, stopIds: [...stopIds] };
        for await (const event of this.#events(request)) {
          if (event.kind === "end" && event.reason === "stop") {
            return yield { kind: "end", reason: "stop", atContextEnd: false };
          }
          if (event.kind !== "token" || stopIds.has(event.id)) continue;
          text.push(event.id);
          left--;
          yield { kind: "token", id: event.id, logProbability: event.logProbability! };
        }
        if (left === 0) break;
        if (!slide || contextLength === 1) {
          return yield { kind: "end", reason: "length", atContextEnd: true };
        }
        text = text.slice(-Math.ceil(contextLength / 2));
        // Positions begin anew, and must not draw the same numbers again.
        sampling.choice = (sampling.choice + SLIDE_CHOICES) % 2 ** 32;
      }
      yield { kind: "end", reason: "length", atContextEnd: false };
    } finally {
      this.#busy = false;
    }
  }

  /** What happens to a request, as soon as it does. */
  async *#events(request: Parameters<Engine["submit"]>[0]): AsyncGenerator<TextEvent, void> {
    const heard: TextEvent[] = [];
    const handle = this.#engine.submit(request, (event) => heard.push(event));
    try {
      for (let isMore = true; isMore;) {
        isMore = await this.#engine.step();
        yield* heard.splice(0);
      }
    } finally {
      handle.cancel();
      await this.#engine.run(); // what is still under way is dropped
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

  /** Gives everything back but the weights. */
  destroy(): void {
    this.#engine.destroy();
  }
}

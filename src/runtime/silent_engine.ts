/**
 * The engine of a model that writes nothing, as a reward model: it takes no memory for keys and
 * values.
 *
 * @module
 */
import type { EngineStats, TextEngine } from "./text_engine.ts";

/** Refuses every request. */
export class SilentEngine implements TextEngine {
  readonly #model: string;
  /** Nothing runs. */
  readonly stats: EngineStats = {
    running: 0,
    waiting: 0,
    cacheUsage: 0,
    prefixQueries: 0,
    prefixHits: 0,
  };

  /** Takes nothing up. @param model names it in what it says */
  constructor(model: string) {
    this.#model = model;
  }

  /** Refuses. @throws {RangeError} Always. */
  submit(): never {
    throw noTextError(this.#model);
  }

  /** Nothing is to be done. */
  step(): Promise<boolean> {
    return Promise.resolve(false);
  }

  /** There is nothing to give back. */
  destroy(): void {}
}

/** What is told where a model that only scores is to write. */
export function noTextError(model: string): RangeError {
  return new RangeError(
    `Cannot generate with "${model}": a model that writes: it is a reward model, which only scores`,
  );
}

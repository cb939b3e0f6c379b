/**
 * What the runtime wants of an engine: texts written side by side with the weights of one version.
 * `Engine` of src/infer satisfies it, and tests have a fake.
 *
 * @module
 */
import type { TextEvent, TextRequest } from "../infer/request.ts";

/** How busy an engine is. */
export interface EngineStats {
  /** Choices that have a row. */
  readonly running: number;
  /** Requests that wait for one. */
  readonly waiting: number;
  /** Blocks of keys and values in use by running choices, over all blocks; from 0 to 1. */
  readonly cacheUsage: number;
  /** Prompt tokens asked of the prefix cache, since the engine was made. */
  readonly prefixQueries: number;
  /** Of those, found. */
  readonly prefixHits: number;
}

/** A request that an engine has taken. */
export interface EngineRequest {
  /** Ends one choice, or all of them; their "end" events say "cancelled". */
  cancel(choice?: number): void;
}

/** Continuous batching over one version of the weights. The runtime calls one method at a time. */
export interface TextEngine {
  /**
   * Takes a request; its events come during later steps, "done" last.
   *
   * @throws {RangeError} When the request does not fit the model.
   */
  submit(request: TextRequest, listener: (event: TextEvent) => void): EngineRequest;
  /**
   * One turn: at most one submission to the GPU, and the events of what has arrived.
   *
   * @returns whether there is more to do
   * @throws {Error} When it cannot go on; it is then destroyed, and made anew.
   */
  step(): Promise<boolean>;
  /** As of now. */
  readonly stats: EngineStats;
  /** Gives the buffers back but the weights; what was running is told of nothing. */
  destroy(): void;
}

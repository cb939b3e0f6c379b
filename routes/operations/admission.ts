/**
 * How much may be under way at once. What is over it is refused before any work is done for it,
 * with the time after which there should be room.
 *
 * @module
 */
import { ApiError } from "../errors.ts";
import type { Admission, AdmittedWork } from "../deps.ts";

/** Bounds of a {@linkcode BoundedAdmission}. */
export interface AdmissionOptions {
  /** Texts under way and waiting; n texts of a request count n. */
  readonly mostChoices: number;
  /** Tokens of prompts and the most that texts may become, together. */
  readonly mostTokens: number;
  /** Tokens that are written a second, as measured; 0 before there is any. */
  readonly tokensPerSecond: () => number;
}

/** What a client is told where nothing was measured yet. */
const UNKNOWN_WAIT_MS = 1_000;
const LEAST_WAIT_MS = 100;
/** Clients do not obey longer ones. */
const MOST_WAIT_MS = 60_000;

/** Counts what was admitted and has not ended. */
export class BoundedAdmission implements Admission {
  readonly #options: AdmissionOptions;
  #choices = 0;
  #tokens = 0;
  #closed: ApiError | undefined;
  #idle: PromiseWithResolvers<void> | undefined;

  /** Nothing is under way. */
  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Texts under way. */
  get choices(): number {
    return this.#choices;
  }

  /** Tokens that were promised to them. */
  get tokens(): number {
    return this.#tokens;
  }

  /** Fulfilled when nothing is under way: at once, or at the end of the last of it. */
  async idle(): Promise<void> {
    while (this.#choices > 0) await (this.#idle ??= Promise.withResolvers()).promise;
  }

  /** Refuses everything from now on, with this error; undefined admits again. */
  close(error: ApiError | undefined): void {
    this.#closed = error;
  }

  /**
   * Takes a request in, all of it or none. One that is larger than the bounds has to find the
   * server idle: else it could never be served.
   *
   * @throws {ApiError} 429 `overloaded`, or what the admission was closed with.
   */
  admit({ choices, tokens }: AdmittedWork): () => void {
    if (this.#closed) throw this.#closed;
    const { mostChoices, mostTokens } = this.#options;
    const fits = this.#choices + choices <= mostChoices && this.#tokens + tokens <= mostTokens;
    if (!fits && this.#choices > 0) throw this.#overloaded();
    this.#choices += choices;
    this.#tokens += tokens;
    let isOpen = true;
    return () => {
      if (!isOpen) return;
      isOpen = false;
      this.#choices -= choices;
      this.#tokens -= tokens;
      if (this.#choices > 0) return;
      this.#idle?.resolve();
      this.#idle = undefined;
    };
  }

  #overloaded(): ApiError {
    const { mostChoices, mostTokens, tokensPerSecond } = this.#options;
    const rate = tokensPerSecond();
    // Texts end one after the other: on average there is room for one more after its share.
    const waitMs = rate > 0 ? 1000 * this.#tokens / this.#choices / rate : UNKNOWN_WAIT_MS;
    return new ApiError(
      429,
      `Cannot take the request now: at most ${mostChoices} texts and ${mostTokens} tokens at a ` +
        `time: ${this.#choices} texts and ${this.#tokens} tokens are under way`,
      {
        code: "overloaded",
        retryAfterMs: Math.min(MOST_WAIT_MS, Math.max(LEAST_WAIT_MS, waitMs)),
      },
    );
  }
}

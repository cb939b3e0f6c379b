/**
 * Who may use the GPU next when texts and a job both want it, and how fast texts come.
 *
 * Time is that of the GPU's thread: WebGPU blocks it while the GPU is busy, so a turn lasts as long
 * as its work.
 *
 * @module
 */

/** A ledger of the time of jobs and of texts while both want the GPU. */
export class TimeShare {
  readonly #share: number;
  #jobMs = 0;
  #textMs = 0;

  /**
   * An empty ledger.
   *
   * @param share part of the time that jobs get, from 0 to 1
   * @throws {RangeError} When it is no such part.
   */
  constructor(share: number) {
    if (!(share >= 0 && share <= 1)) {
      throw new RangeError(`Cannot share the GPU: a share for jobs from 0 to 1: got ${share}`);
    }
    this.#share = share;
  }

  /** Whether a job comes next: it has had no more than its share. */
  get isJobsTurn(): boolean {
    return this.owedMs >= 0;
  }

  /** What jobs lack of their share, ms; below 0 when they have had more. */
  get owedMs(): number {
    const share = this.#share;
    if (share === 0 || share === 1) return share === 0 ? -Infinity : Infinity;
    return this.#textMs * share / (1 - share) - this.#jobMs;
  }

  /** Writes down what a job took. */
  addJob(ms: number): void {
    this.#jobMs += ms;
  }

  /** Writes down what texts took. */
  addText(ms: number): void {
    this.#textMs += ms;
  }

  /** Forgets both: one of them has had the GPU to itself. */
  reset(): void {
    this.#jobMs = 0;
    this.#textMs = 0;
  }
}

/** Tokens a second over the last seconds in which there was work; breaks do not count. */
export class RateMeter {
  readonly #windowMs: number;
  readonly #spans: { tokens: number; ms: number }[] = [];
  #tokens = 0;
  #ms = 0;

  /** An empty meter. @param windowMs so much work counts */
  constructor(windowMs = 5000) {
    this.#windowMs = windowMs;
  }

  /** Adds the tokens of so much work. */
  add(tokens: number, ms: number): void {
    const last = this.#spans.at(-1);
    // Spans of a hundredth of the window, so that their number is bounded.
    if (last && last.ms + ms < this.#windowMs / 100) {
      last.tokens += tokens;
      last.ms += ms;
    } else this.#spans.push({ tokens, ms });
    this.#tokens += tokens;
    this.#ms += ms;
    while (this.#spans.length > 1 && this.#ms - this.#spans[0]!.ms >= this.#windowMs) {
      const first = this.#spans.shift()!;
      this.#tokens -= first.tokens;
      this.#ms -= first.ms;
    }
  }

  /** 0 before there was any work. */
  get tokensPerSecond(): number {
    return this.#ms > 0 ? 1000 * this.#tokens / this.#ms : 0;
  }
}

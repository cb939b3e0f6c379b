/**
 * How far ahead of the results to submit: enough that the GPU never waits for a readback, and no
 * more, as a new request waits for all that is under way.
 *
 * @module
 */

/** A readback takes so long however small it is: measured 10 ms and more. */
const READBACK_MS = 15;
/** A submission of several steps takes about so long: text comes as it is read, not in bursts. */
const SUBMISSION_MS = 32;
/** Weight of the newest measurement. */
const NEWEST = 0.3;

/** What to do, by what was measured. */
export class Pace {
  readonly #mostSteps: number;
  readonly #mostDepth: number;
  #turnMs: number | undefined;
  #stepMs: number | undefined;

  /** At most so many steps a submission, and submissions under way. */
  constructor(most: { steps: number; depth: number }) {
    this.#mostSteps = most.steps;
    this.#mostDepth = most.depth;
  }

  /** Decode steps of a submission. */
  get steps(): number {
    return this.stepsWithin(Infinity);
  }

  /** Decode steps of a submission that takes so long at most, where a single step does not. */
  stepsWithin(mostMs: number): number {
    if (this.#stepMs === undefined) return 1;
    const ms = Math.min(SUBMISSION_MS, mostMs);
    return clamp(Math.floor(ms / this.#stepMs), this.#mostSteps);
  }

  /** Submissions under way. */
  get depth(): number {
    if (this.#turnMs === undefined) return 2;
    return Math.max(2, clamp(1 + Math.ceil(READBACK_MS / this.#turnMs), this.#mostDepth));
  }

  /**
   * Takes note of what arrived in a time in which the GPU was never idle.
   *
   * @param steps of decoding in all of it, undefined when it was not decoding alone
   */
  note({ elapsedMs, turns, steps }: { elapsedMs: number; turns: number; steps?: number }): void {
    const mean = (before: number | undefined, now: number) =>
      Math.max(1e-3, before === undefined ? now : before + NEWEST * (now - before));
    this.#turnMs = mean(this.#turnMs, elapsedMs / turns);
    if (steps !== undefined) this.#stepMs = mean(this.#stepMs, elapsedMs / steps);
  }
}

function clamp(count: number, most: number): number {
  return Math.max(1, Math.min(most, count));
}

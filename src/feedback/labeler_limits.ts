/**
 * How much one labeler may send: a bucket that fills at a steady rate, and a cap a day.
 *
 * @module
 */

/** Bounds of each labeler. */
export interface LabelerBounds {
  /** Records a second, over a longer time. */
  readonly ratePerSecond: number;
  /** Records at once. */
  readonly burst: number;
  /** Records in any 24 hours. */
  readonly perDay: number;
}

/** What a labeler may do if nothing else is said: more than people can, less than a loop does. */
export const DEFAULT_BOUNDS: LabelerBounds = { ratePerSecond: 10, burst: 60, perDay: 20_000 };

/** Why a labeler has to wait. */
export interface Refusal {
  /** Until it may work. */
  readonly retryAfterMs: number;
  /** Which bound. */
  readonly bound: "rate" | "day";
}

interface Bucket {
  tokens: number;
  filledMs: number;
  /** Records of the last 24 hours, as counted then. */
  today: number;
  countedMs: number;
}

/** A count is taken anew after this time; between, it only grows. */
const RECOUNT_MS = 600_000;
const DAY_MS = 86_400_000;
/** Labelers remembered; one that is forgotten begins with a full bucket. */
const MOST_BUCKETS = 10_000;

/** Keeps labelers within their bounds. */
export class LabelerLimits {
  /** Records refused since the start. */
  refused = 0;
  readonly #bounds: LabelerBounds;
  readonly #nowMs: () => number;
  readonly #countSince: (labeler: string, since: number) => number;
  readonly #buckets = new Map<string, Bucket>(); // by labeler, the latest last

  /**
   * All buckets are full.
   *
   * @param countSince records of a labeler since a time in seconds since 1970
   */
  constructor(
    countSince: (labeler: string, since: number) => number,
    bounds: LabelerBounds = DEFAULT_BOUNDS,
    nowMs: () => number = Date.now,
  ) {
    this.#countSince = countSince;
    this.#bounds = bounds;
    this.#nowMs = nowMs;
  }

  /** Takes one record in. @returns undefined, or why not */
  take(labeler: string): Refusal | undefined {
    const refusal = this.#take(labeler);
    if (refusal) this.refused++;
    return refusal;
  }

  #take(labeler: string): Refusal | undefined {
    const { ratePerSecond, burst, perDay } = this.#bounds;
    const nowMs = this.#nowMs();
    const bucket = this.#bucketOf(labeler, nowMs);
    if (nowMs - bucket.countedMs > RECOUNT_MS) {
      bucket.today = this.#countSince(labeler, (nowMs - DAY_MS) / 1000);
      bucket.countedMs = nowMs;
    }
    const filled = bucket.tokens + ratePerSecond * (nowMs - bucket.filledMs) / 1000;
    bucket.tokens = Math.min(burst, filled);
    bucket.filledMs = nowMs;
    if (bucket.today >= perDay) return { retryAfterMs: RECOUNT_MS, bound: "day" };
    if (bucket.tokens < 1) {
      return { retryAfterMs: 1000 * (1 - bucket.tokens) / ratePerSecond, bound: "rate" };
    }
    bucket.tokens--;
    bucket.today++;
    return undefined;
  }

  #bucketOf(labeler: string, nowMs: number): Bucket {
    let bucket = this.#buckets.get(labeler);
    this.#buckets.delete(labeler);
    bucket ??= {
      tokens: this.#bounds.burst,
      filledMs: nowMs,
      today: this.#countSince(labeler, (nowMs - DAY_MS) / 1000),
      countedMs: nowMs,
    };
    this.#buckets.set(labeler, bucket);
    if (this.#buckets.size > MOST_BUCKETS) {
      this.#buckets.delete(this.#buckets.keys().next().value!);
    }
    return bucket;
  }
}

/**
 * Pairs as a reward model is to learn from them: weighed by the guards, without those that count
 * for nothing.
 *
 * @module
 */
import type { FeedbackStore } from "./feedback_store.ts";
import { type LabelerTrust, weighPairsInTurns } from "./guard.ts";
import {
  type PreferencePair,
  type ReadOptions,
  readPairs,
  type TrainingData,
} from "./training_data.ts";

/** Pairs whose weights are above 0. */
export interface TrustedPairs extends TrainingData<PreferencePair> {
  /** Each labeler, over all data. */
  readonly labelers: readonly LabelerTrust[];
  /** False: too few labelers or pairs to compare anybody with; all weights are 1. */
  readonly isGuarded: boolean;
  /** Pairs that count for nothing, and are left out. */
  readonly leftOut: number;
}

/** The latest pairs that guards look at; older ones weigh what their labelers weigh on average. */
const MOST_GUARDED = 20_000;

/** Reads pairs of a store that can be trusted. */
export class TrustedData {
  readonly #store: FeedbackStore;
  #last: { version: number; all: Promise<TrustedPairs> } | undefined;

  /** Of a store. */
  constructor(store: FeedbackStore) {
    this.#store = store;
  }

  /**
   * Reads pairs. What guards found is kept until the data change; finding it gives the event loop
   * its turns, but takes about a second of computing for 3,000 pairs.
   *
   * All data are looked at, whatever part is read: who misleads in one part does in the other.
   */
  async read(options: ReadOptions & { readonly sinceSeq?: number } = {}): Promise<TrustedPairs> {
    const { split, since, sinceSeq = 0 } = options;
    const all = await this.#all();
    const items = all.items.filter((pair) =>
      (split === undefined || pair.split === split) && pair.seq > sinceSeq &&
      (since === undefined || pair.created >= since)
    );
    return { ...all, items };
  }

  #all(): Promise<TrustedPairs> {
    const version = this.#store.datasetVersion;
    if (this.#last?.version !== version) {
      const all = guarded(this.#store);
      this.#last = { version, all };
      all.catch(() => this.#last = undefined); // the next reader tries again
    }
    return this.#last!.all;
  }
}

async function guarded(store: FeedbackStore): Promise<TrustedPairs> {
  const { items, ...rest } = await readPairs(store);
  const old = items.slice(0, -MOST_GUARDED);
  const { weights, labelers, isSufficient } = await weighPairsInTurns(items.slice(-MOST_GUARDED));
  const byLabeler = new Map(labelers.map(({ labeler, weight }) => [labeler, weight]));
  const weighed = items.map((pair, i): PreferencePair => ({
    ...pair,
    weight: i < old.length ? byLabeler.get(pair.labeler) ?? 1 : weights[i - old.length]!,
  }));
  const trusted = weighed.filter(({ weight }) => weight > 0);
  return {
    ...rest,
    items: trusted,
    labelers,
    isGuarded: isSufficient,
    leftOut: items.length - trusted.length,
  };
}

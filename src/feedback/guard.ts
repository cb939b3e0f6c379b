/**
 * Guards of the data: how much each labeler's pairs count, and whose count for nothing.
 *
 * Whether a labeler is to be trusted is asked of a model that never saw that labeler: it is fitted
 * to the pairs of others, and says how likely each of the labeler's verdicts is. From these follows
 * the share of verdicts that are turned around (the one-coin model of A. P. Dawid and A. M. Skene,
 * "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", 1979, with a
 * model's prediction where they have an unknown truth). Prediction, unlike a vote, needs no pair
 * that two labelers judged; and as the predictions are calibrated, what the model does not know
 * speaks against nobody. What is found weighs the pairs of the next fit, a few times over.
 *
 * Before that, no labeler counts for much more than the others, on any topic: a model fitted to a
 * flood would call it the truth. So guards hold while those who mislead are the lesser half of
 * labelers on each topic, however much they send. They do not see ids that push something which
 * nobody else has judged: nothing speaks against it.
 *
 * @module
 */
import { setImmediate } from "node:timers/promises";
import { pairFeatures, type SparseVector } from "./guard_features.ts";
import { FlipPosterior } from "./guard_flips.ts";
import { PreferenceModel, temperatureOf } from "./guard_model.ts";
import { topicsOf } from "./guard_topics.ts";

/** A verdict, as far as guards look at it. */
export interface GuardedPair {
  /** Text of the prompt. */
  readonly prompt: string;
  /** The text that is said to be better. */
  readonly chosen: { readonly text: string };
  /** The other. */
  readonly rejected: { readonly text: string };
  /** Hash of the labeler. */
  readonly labeler: string;
}

/** What was found of a labeler. */
export interface LabelerTrust {
  /** Hash. */
  readonly labeler: string;
  /** Pairs that were looked at. */
  readonly pairs: number;
  /** Of those, as the model that never saw this labeler says. */
  readonly agreement: number;
  /** Share of verdicts that are turned around, beyond what all labelers err. */
  readonly flipRate: number;
  /** How much a pair of this labeler counts, on average. */
  readonly weight: number;
  /** Whether none of the pairs count. */
  readonly isQuarantined: boolean;
  /** Topics on which none of the pairs count. */
  readonly quarantinedTopics: readonly number[];
}

/** What guards say of data. */
export interface GuardReport {
  /** How much each pair counts, in their order. */
  readonly weights: Float64Array;
  /** Topic of each pair. */
  readonly topics: Uint8Array;
  /** Each labeler. */
  readonly labelers: readonly LabelerTrust[];
  /** False: too few labelers or pairs to compare anybody with; all weights are 1. */
  readonly isSufficient: boolean;
}

/** A labeler counts for at most so many times the median labeler, on each topic. */
const VOLUME_CAP = 2;
/** Fits, each with the weights that follow from the one before. */
const ROUNDS = 3;
/** Models of a round; a labeler's pairs are in all of them but one. */
const FOLDS = 5;
/** From this share of turned verdicts on, data of a labeler do more harm than good. */
const MOST_FLIPS = 0.35;
/** How sure that must be. */
const CERTAINTY = 0.99;
/** Verdicts needed to say so: of a labeler, and of one on a topic. */
const LEAST_PAIRS = 20;
const LEAST_LABELERS = 3;
const LEAST_DATA = 60;
/** Verdicts that a labeler's other topics count for, on a topic. */
const PRIOR_STRENGTH = 12;

/**
 * Weighs pairs. Yields where other work may go on, every few milliseconds.
 *
 * @param pairs those of one labeler may lie anywhere
 */
export function* weighPairs(pairs: readonly GuardedPair[]): Generator<void, GuardReport> {
  const names = [...new Set(pairs.map(({ labeler }) => labeler))].sort();
  const indices = new Map(names.map((name, i) => [name, i]));
  const labelers = Uint32Array.from(pairs, ({ labeler }) => indices.get(labeler)!);
  if (names.length < LEAST_LABELERS || pairs.length < LEAST_DATA) return insufficient(pairs, names);

  const prompts = new Map([...new Set(pairs.map(({ prompt }) => prompt))].map((p, i) => [p, i]));
  const topicOfPrompt = topicsOf([...prompts.keys()]);
  yield;
  const topics = Uint8Array.from(pairs, ({ prompt }) => topicOfPrompt[prompts.get(prompt)!]!);
  const features: SparseVector[] = [];
  for (const [i, { prompt, chosen, rejected }] of pairs.entries()) {
    const texts = [chosen.text, rejected.text] as const;
    features.push(pairFeatures(prompt, texts, { topic: topics[i]! }));
    if (i % 50 === 49) yield;
  }
  const caps = volumeCaps(labelers, topics, names.length);
  const folds = foldsOf(labelers, names.length);
  let weights = caps.slice();
  let trust = new Trust(names.length, labelers, topics);
  for (let round = 0; round < ROUNDS; round++) {
    const scores = yield* crossPredict(features, { weights, labelers, folds });
    trust = new Trust(names.length, labelers, topics);
    trust.learn(scores, temperatureOf(scores, weights));
    weights = Float64Array.from(caps, (cap, i) => cap * trust.weightOf(labelers[i]!, topics[i]!));
  }
  return {
    weights,
    topics,
    labelers: names.map((labeler, i) => trust.report(labeler, i, weights)),
    isSufficient: true,
  };
}

/** {@linkcode weighPairs} beside other work: it gives the event loop its turns. */
export async function weighPairsInTurns(pairs: readonly GuardedPair[]): Promise<GuardReport> {
  const work = weighPairs(pairs);
  for (;;) {
    const startMs = performance.now();
    while (performance.now() - startMs < 4) {
      const { done, value } = work.next();
      if (done) return value;
    }
    await setImmediate(); // a timer would take 2 ms
  }
}

function insufficient(pairs: readonly GuardedPair[], names: readonly string[]): GuardReport {
  return {
    weights: new Float64Array(pairs.length).fill(1),
    topics: new Uint8Array(pairs.length),
    labelers: names.map((labeler) => ({
      labeler,
      pairs: pairs.filter((pair) => pair.labeler === labeler).length,
      agreement: NaN,
      flipRate: NaN,
      weight: 1,
      isQuarantined: false,
      quarantinedTopics: [],
    })),
    isSufficient: false,
  };
}

/** The weight of each pair that holds every labeler to a few times the median, on every topic. */
function volumeCaps(labelers: Uint32Array, topics: Uint8Array, count: number): Float64Array {
  const volumes = new Map<number, Float64Array>();
  for (const [i, labeler] of labelers.entries()) {
    const own = volumes.get(topics[i]!) ?? new Float64Array(count);
    own[labeler]!++;
    volumes.set(topics[i]!, own);
  }
  const medians = new Map([...volumes].map(([topic, own]) => {
    const active = own.filter((n) => n > 0).sort();
    return [topic, active[Math.floor((active.length - 1) / 2)]!];
  }));
  return Float64Array.from(labelers, (labeler, i) => {
    const topic = topics[i]!;
    return Math.min(1, VOLUME_CAP * medians.get(topic)! / volumes.get(topic)![labeler]!);
  });
}

/** A fold for each labeler: the largest first, each to the fold that has least. */
function foldsOf(labelers: Uint32Array, count: number): Uint8Array {
  const volumes = new Float64Array(count);
  for (const labeler of labelers) volumes[labeler]!++;
  const sums = new Float64Array(Math.min(FOLDS, count));
  const folds = new Uint8Array(count);
  for (const labeler of [...volumes.keys()].sort((a, b) => volumes[b]! - volumes[a]!)) {
    folds[labeler] = sums.indexOf(Math.min(...sums));
    sums[folds[labeler]!]! += volumes[labeler]!;
  }
  return folds;
}

/** The score of each pair by the model that never saw its labeler. */
function* crossPredict(
  features: readonly SparseVector[],
  { weights, labelers, folds }: {
    weights: Float64Array;
    labelers: Uint32Array;
    folds: Uint8Array;
  },
): Generator<void, Float64Array> {
  const scores = new Float64Array(features.length);
  for (let fold = 0; fold < FOLDS; fold++) {
    const isOut = (i: number) => folds[labelers[i]!] === fold;
    if (!labelers.some((_, i) => isOut(i))) continue;
    const others = weights.map((weight, i) => isOut(i) ? 0 : weight);
    const model = yield* PreferenceModel.fit(features, others);
    for (let i = 0; i < features.length; i++) {
      if (isOut(i)) scores[i] = model.score(features[i]!);
    }
  }
  return scores;
}

/** What the verdicts of a round say of labelers, over all topics and on each. */
class Trust {
  readonly #labelers: Uint32Array;
  readonly #topics: Uint8Array;
  readonly #whole: FlipPosterior[];
  readonly #byTopic = new Map<number, { posterior: FlipPosterior; pairs: number }>();
  readonly #pairs: Float64Array;
  readonly #agreed: Float64Array;

  constructor(count: number, labelers: Uint32Array, topics: Uint8Array) {
    this.#labelers = labelers;
    this.#topics = topics;
    this.#whole = Array.from({ length: count }, () => new FlipPosterior(0.1, 4));
    this.#pairs = new Float64Array(count);
    this.#agreed = new Float64Array(count);
  }

  /** Sees all verdicts. */
  learn(scores: Float64Array, temperature: number): void {
    // Nothing is certain: a model that is sure and wrong must not decide alone.
    const probability = (i: number) =>
      Math.min(0.97, Math.max(0.03, 1 / (1 + Math.exp(-temperature * scores[i]!))));
    for (const [i, labeler] of this.#labelers.entries()) {
      this.#whole[labeler]!.see(probability(i));
      this.#pairs[labeler]!++;
      if (scores[i]! > 0) this.#agreed[labeler]!++;
    }
    for (const [i, labeler] of this.#labelers.entries()) {
      const key = this.#key(labeler, this.#topics[i]!);
      let own = this.#byTopic.get(key);
      if (!own) {
        const mean = Math.min(0.5, Math.max(0.05, this.#whole[labeler]!.mean));
        own = { posterior: new FlipPosterior(mean, PRIOR_STRENGTH), pairs: 0 };
        this.#byTopic.set(key, own);
      }
      own.posterior.see(probability(i));
      own.pairs++;
    }
  }

  /** How much a pair of a labeler on a topic counts: (1 − 2 · flips)², 0 in quarantine. */
  weightOf(labeler: number, topic: number): number {
    if (this.#isQuarantined(labeler)) return 0;
    const own = this.#byTopic.get(this.#key(labeler, topic));
    if (!own) return 1;
    if (this.#isOut(own)) return 0;
    return Math.max(0, 1 - 2 * own.posterior.mean) ** 2;
  }

  report(name: string, labeler: number, weights: Float64Array): LabelerTrust {
    const pairs = this.#pairs[labeler]!;
    const sum = weights.reduce((sum, w, i) => this.#labelers[i] === labeler ? sum + w : sum, 0);
    const topics = [...this.#byTopic].filter(([key, own]) =>
      Math.floor(key / 256) === labeler && this.#isOut(own)
    ).map(([key]) => key % 256);
    return {
      labeler: name,
      pairs,
      agreement: this.#agreed[labeler]! / pairs,
      flipRate: this.#whole[labeler]!.mean,
      weight: sum / pairs,
      isQuarantined: this.#isQuarantined(labeler),
      quarantinedTopics: topics.sort((a, b) => a - b),
    };
  }

  #key(labeler: number, topic: number): number {
    return 256 * labeler + topic;
  }

  #isQuarantined(labeler: number): boolean {
    return this.#pairs[labeler]! >= LEAST_PAIRS &&
      this.#whole[labeler]!.above(MOST_FLIPS) > CERTAINTY;
  }

  #isOut({ posterior, pairs }: { posterior: FlipPosterior; pairs: number }): boolean {
    return pairs >= LEAST_PAIRS && posterior.above(MOST_FLIPS) > CERTAINTY;
  }
}

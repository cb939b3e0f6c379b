/**
 * A world of labelers whose hidden rule is known: what guards are measured in.
 *
 * Prompts have one of six topics, answers are words. A rule, drawn anew for each seed, gives every
 * word a value, another one in each topic, and longer answers a little more or less. Honest
 * labelers prefer the answer of the greater sum, and err in one case of ten.
 *
 * @module
 */
import type { GuardedPair } from "../src/feedback/guard.ts";
import { PhiloxStream } from "../src/random/philox.ts";

/** Share of cases in which an honest labeler errs. */
export const HONEST_NOISE = 0.1;
/** Topics of prompts. */
export const TOPICS = 6;
/** Honest labelers. */
export const HONEST = 20;
/** Pairs of each. */
const PAIRS = 200;
const WORDS = 60;
const TOPIC_WORDS = 40;
/** Stream of the draws; no other part of the program uses this one. */
const STREAM = 0x776f726c; // "worl"

/** A pair of answers, and which is better by the rule. */
export interface WorldPair {
  /** Text of the prompt. */
  readonly prompt: string;
  /** Its topic. */
  readonly topic: number;
  /** The better answer. */
  readonly better: string;
  /** The worse one. */
  readonly worse: string;
}

/** A verdict on a pair. */
export interface Verdict extends GuardedPair {
  /** Topic of the prompt. */
  readonly topic: number;
  /** Whether the labeler is one of those that mislead. */
  readonly isAttack: boolean;
}

/** Draws of one seed: a rule, pairs and verdicts. */
export class World {
  readonly #random: PhiloxStream;
  readonly #values: Float64Array; // of words, everywhere
  readonly #topicValues: Float64Array[];
  readonly #lengthValue: number;

  /** With the rule of a seed. */
  constructor(seed: number) {
    this.#random = new PhiloxStream(seed, STREAM);
    const normals = (count: number) => Float64Array.from({ length: count }, this.#normal);
    this.#values = normals(WORDS);
    this.#topicValues = Array.from({ length: TOPICS }, () => normals(WORDS));
    this.#lengthValue = 0.5 * this.#normal();
  }

  readonly #normal = () => this.#random.normal();

  /** Whether something happens that does with a probability. */
  happens(probability: number): boolean {
    return this.#random.uniform() < probability;
  }

  /** A pair on a topic, or on any. */
  pair({ topic = this.#random.integer(TOPICS) }: { topic?: number | undefined } = {}): WorldPair {
    const prompt = this.#draw(
      10,
      () => this.happens(0.7) ? `topic${topic}x${this.#random.integer(TOPIC_WORDS)}` : this.#word(),
    );
    const answers = [this.#answer(), this.#answer()].map((words) => ({
      text: words.join(" "),
      gold: this.#gold(words, topic),
    }));
    const [better, worse] = answers.sort((a, b) => b.gold - a.gold);
    return { prompt: prompt.join(" "), topic, better: better!.text, worse: worse!.text };
  }

  /** What a labeler says of a pair who errs, or lies, with a probability. */
  verdict(
    { prompt, topic, better, worse }: WorldPair,
    labeler: string,
    { flips, isAttack = false }: { flips: number; isAttack?: boolean },
  ): Verdict {
    const [chosen, rejected] = this.happens(flips) ? [worse, better] : [better, worse];
    return {
      prompt,
      topic,
      chosen: { text: chosen },
      rejected: { text: rejected },
      labeler,
      isAttack,
    };
  }

  /** Verdicts of the honest labelers. */
  honest({ flips = HONEST_NOISE, count = HONEST }: { flips?: number; count?: number } = {}) {
    return Array.from(
      { length: count },
      (_, i) =>
        Array.from({ length: PAIRS }, () => this.verdict(this.pair(), `honest ${i}`, { flips })),
    ).flat();
  }

  #word(): string {
    return `w${this.#random.integer(WORDS)}`;
  }

  #answer(): string[] {
    return this.#draw(12 + this.#random.integer(20), () => this.#word());
  }

  #draw(count: number, draw: () => string): string[] {
    return Array.from({ length: count }, draw);
  }

  #gold(words: readonly string[], topic: number): number {
    const sum = words.reduce((sum, word) => {
      const at = Number(word.slice(1));
      return sum + this.#values[at]! + 0.4 * this.#topicValues[topic]![at]!;
    }, 0);
    return sum / Math.sqrt(words.length) + this.#lengthValue * Math.log(words.length);
  }
}

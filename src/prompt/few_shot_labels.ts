/**
 * Labels as continuations of a prompt: which tokens they are, and what their log-probabilities say.
 *
 * A label may have several wordings (verbalizers). It stands for the event that any of them
 * follows, so its probability is their sum. A length is a single wording's: what is divided by one
 * is the largest over the wordings.
 *
 * @module
 */
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** What can decide between labels. */
export type Normalization = "none" | "char" | "byte" | "token" | "unconditional" | "calibrated";

/** Ids of a prompt and a label, and where the label begins. */
export interface LabelTokens {
  /** Of both. */
  readonly ids: readonly number[];
  /** The first that is scored, at least 1. */
  readonly from: number;
}

/**
 * Encodes a label after a context. The two are encoded together, as they would be in a text, and
 * what has the ids of the context alone is the context: where the boundary falls within a token,
 * that token is scored with the label. White space at the context's end goes to the label.
 *
 * @param options.start begins a text where the context is empty
 * @throws {RangeError} When there is nothing to score, nothing before it, or a character is
 * unknown.
 */
export function encodeLabel(
  tokenizer: Tokenizer,
  { context, label, start }: { context: string; label: string; start: number | undefined },
): LabelTokens {
  const ids = tokenizer.encode(context + label);
  const before = tokenizer.encode(context.trimEnd());
  let from = 0;
  while (from < before.length && before[from] === ids[from]) from++;
  if (from === ids.length) {
    throw new RangeError(
      `Cannot score the label ${JSON.stringify(label)}: want a token of its own: it has none`,
    );
  }
  if (from > 0) return { ids, from };
  if (start === undefined) {
    throw new RangeError(
      `Cannot score the label ${JSON.stringify(label)}: want a token before it: the context is ` +
        "empty, and this model has no token to begin with",
    );
  }
  return { ids: [start, ...ids], from: 1 };
}

/**
 * Two labels that cannot be told apart: the tokens of one are the beginning of the other's, which
 * then never has the higher probability.
 *
 * @returns their numbers, the shorter one first; undefined where there are none
 */
export function findPrefix(labels: readonly LabelTokens[]): [number, number] | undefined {
  // In this order a beginning stands right before one of those that begin with it.
  const order = labels.map((_, index) => index).sort((a, b) => {
    return compare(labels[a]!.ids, labels[b]!.ids) || a - b;
  });
  for (const [place, index] of order.slice(1).entries()) {
    const shorter = order[place]!;
    const { ids } = labels[index]!;
    if (labels[shorter]!.ids.every((id, at) => id === ids[at])) return [shorter, index];
  }
  return undefined;
}

function compare(a: readonly number[], b: readonly number[]): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) if (a[at] !== b[at]) return a[at]! - b[at]!;
  return a.length - b.length;
}

/** A wording, scored. */
export interface ScoredWording {
  /** As it was given, without a delimiter that the template adds. */
  readonly text: string;
  /** Of each of its tokens: natural logarithms. */
  readonly logProbabilities: readonly number[];
  /** Whether each token was the likeliest at its place. */
  readonly isGreedy: boolean;
}

/** What one look at a label's wordings says. */
export interface LabelScore {
  /** Of any of the wordings. */
  readonly logProbability: number;
  /** Number of the likeliest wording. */
  readonly likeliest: number;
  /** Its tokens. */
  readonly tokens: number;
  /** Its bytes in UTF-8. */
  readonly bytes: number;
  /** Log-probability by tokens, the largest over the wordings. */
  readonly perToken: number;
  /** By bytes in UTF-8. */
  readonly perByte: number;
  /** By code points. */
  readonly perCharacter: number;
  /** Whether greedy decoding would write the likeliest wording. */
  readonly isGreedy: boolean;
}

/** Sums a label up. */
export function labelScore(wordings: readonly ScoredWording[]): LabelScore {
  const each = wordings.map(({ text, logProbabilities, isGreedy }) => {
    const logProbability = logProbabilities.reduce((sum, value) => sum + value, 0);
    const bytes = new TextEncoder().encode(text).length;
    return { logProbability, tokens: logProbabilities.length, bytes, isGreedy, text };
  });
  const all = each.map(({ logProbability }) => logProbability);
  const likeliest = all.indexOf(Math.max(...all));
  const { tokens, bytes, isGreedy } = each[likeliest]!;
  const most = (length: (wording: typeof each[number]) => number) =>
    Math.max(...each.map((wording) => wording.logProbability / length(wording)));
  return {
    logProbability: logSumExp(all),
    likeliest,
    tokens,
    bytes,
    isGreedy,
    perToken: most((wording) => wording.tokens),
    perByte: most((wording) => wording.bytes),
    perCharacter: most(({ text }) => [...text].length),
  };
}

/**
 * ln Σ exp(x), without overflow.
 *
 * @example
 * ```ts
 * import { logSumExp } from "./few_shot_labels.ts";
 * console.assert(Math.abs(logSumExp([-1000, -1000]) - (-1000 + Math.LN2)) < 1e-12);
 * ```
 */
export function logSumExp(values: readonly number[]): number {
  const most = Math.max(...values);
  if (most === -Infinity) return most;
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/** Shares of e^score, which add up to 1. */
export function softmax(scores: readonly number[]): number[] {
  const all = logSumExp(scores);
  return scores.map((score) => Math.exp(score - all));
}

/**
 * ln p_cf of contextual calibration: what the model thinks of each label where the input says
 * nothing. The mean over content-free inputs of the labels' probabilities, which then add up to 1.
 *
 * Source: T. Z. Zhao, E. Wallace, S. Feng, D. Klein, S. Singh, "Calibrate Before Use: Improving
 * Few-Shot Performance of Language Models", ICML 2021, section 5.
 *
 * @param logProbabilities (inputs, labels)
 * @returns (labels)
 */
export function contentFree(logProbabilities: readonly (readonly number[])[]): number[] {
  const labels = logProbabilities[0]!.map((_, label) => {
    return logSumExp(logProbabilities.map((input) => input[label]!));
  });
  const all = logSumExp(labels);
  return labels.map((label) => label - all);
}

/**
 * Labels' scores with what a prompt favours anyway taken out: q ∝ diag(p_cf)^-1 p, as ln q.
 *
 * @param logProbabilities of the labels
 * @param bias {@linkcode contentFree} of the same prompt
 */
export function calibrate(logProbabilities: readonly number[], bias: readonly number[]): number[] {
  const scores = logProbabilities.map((value, label) => value - bias[label]!);
  const all = logSumExp(scores);
  return scores.map((score) => score - all);
}

/** Which label has the highest score, and how clearly. */
export interface Decision {
  /** Number of the label; of equals the first. */
  readonly label: number;
  /** Of each label: softmax of the scores. */
  readonly probabilities: readonly number[];
  /** The highest score less the next; null where there is one label. */
  readonly margin: number | null;
  /** Of the probabilities, in nats. */
  readonly entropy: number;
}

/** Decides by scores. */
export function decide(scores: readonly number[]): Decision {
  const label = scores.indexOf(Math.max(...scores));
  const rest = scores.filter((_, index) => index !== label);
  const probabilities = softmax(scores);
  return {
    label,
    probabilities,
    margin: rest.length === 0 ? null : scores[label]! - Math.max(...rest),
    entropy: probabilities.reduce((sum, p) => p === 0 ? sum : sum - p * Math.log(p), 0),
  };
}

/** Log-probabilities of labels by what they depend on, the latest ones kept. */
export class LabelCache {
  readonly #most: number;
  readonly #values = new Map<string, readonly number[]>(); // latest last

  /** Empty. */
  constructor(most = 1024) {
    this.#most = most;
  }

  /** What is kept under a key. */
  get(key: string): readonly number[] | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    this.#values.delete(key);
    this.#values.set(key, value);
    return value;
  }

  /** Keeps a value; the one that was not asked for the longest goes. */
  set(key: string, value: readonly number[]): void {
    this.#values.delete(key);
    this.#values.set(key, value);
    if (this.#values.size > this.#most) this.#values.delete(this.#values.keys().next().value!);
  }
}

/**
 * What evaluations measure: of each item some numbers, of all items a value and how sure it is.
 *
 * @module
 */
import { BLEU_PARTS, bleuOfSums } from "./bleu.ts";
import { bootstrap, type Interval, wilson } from "./statistics.ts";

/** How a metric's value comes from its items. */
export interface Metric {
  /** What it is. */
  readonly about: string;
  /** share: of items that are right, 0 or 1 each; others are functions of sums. */
  readonly kind: "share" | "sums";
  /** Numbers of an item. */
  readonly width: number;
  /** The value from the sums of all items' numbers. */
  readonly value: (sums: readonly number[], items: number) => number;
  /** Whether more is better. */
  readonly isMoreBetter: boolean;
}

function share(about: string, isMoreBetter = true): Metric {
  const value = ([right]: readonly number[], items: number) => right! / items;
  return { about, kind: "share", width: 1, value, isMoreBetter };
}

function mean(about: string, isMoreBetter = true): Metric {
  return { ...share(about, isMoreBetter), kind: "sums" };
}

/** exp of the loss: numbers of an item are its negative log-likelihood and its length. */
function perplexity(about: string): Metric {
  return {
    about,
    kind: "sums",
    width: 2,
    value: ([loss, length]) => Math.exp(loss! / length!),
    isMoreBetter: false,
  };
}

/** All metrics by name; names are lm-evaluation-harness' where it has them. */
export const METRICS = {
  acc: share("right by the log-probability; of a cloze by greedy decoding"),
  acc_norm: share("right by log-probability per character"),
  acc_bytes: share("right by log-probability per byte"),
  acc_token: share("right by log-probability per token, as GPT-3 was evaluated"),
  acc_mutual_info: share("right by log-probability less that without the question"),
  acc_calibrated: share("right by contextual calibration"),
  acc_stop_words: share("right with words that end no passage left out, as GPT-2 was evaluated"),
  exact_match: share("the wanted answer"),
  abstained: share("no path has an answer", false),
  early_stopped: share("votes ended early"),
  samples: mean("paths a question", false),
  confidence: mean("share of the votes that the answer has"),
  rouge1: mean("ROUGE-1, F1"),
  rouge2: mean("ROUGE-2, F1"),
  rougeL: mean("ROUGE-L, F1"),
  bleu: {
    about: "BLEU of all texts together, 0 to 100",
    kind: "sums",
    width: BLEU_PARTS,
    value: bleuOfSums,
    isMoreBetter: true,
  },
  target_perplexity: perplexity("of the wanted words"),
  token_perplexity: perplexity("by the token"),
  word_perplexity: perplexity("by the word between spaces"),
  byte_perplexity: perplexity("by the byte of UTF-8"),
  bits_per_byte: {
    about: "loss in bits by the byte of UTF-8",
    kind: "sums",
    width: 2,
    value: ([loss, bytes]) => loss! / (bytes! * Math.LN2),
    isMoreBetter: false,
  },
} as const satisfies Record<string, Metric>;

/** Name of a metric. */
export type MetricName = keyof typeof METRICS;

/** A metric over items. */
export interface MetricValue {
  /** The value. */
  readonly value: number;
  /** Its 95 % interval: Wilson's for shares, else the bootstrap's; null for a single item. */
  readonly interval: Interval | null;
  /** Items. */
  readonly items: number;
}

/** The value of a metric. @param rows (items, numbers) */
export function summarise(name: MetricName, rows: readonly (readonly number[])[]): MetricValue {
  const metric: Metric = METRICS[name];
  const value = metric.value(sumsOf(rows), rows.length);
  const interval = metric.kind === "share"
    ? wilson(sumsOf(rows)[0]!, rows.length)
    : bootstrap(rows, metric.value) ?? null;
  return { value, interval, items: rows.length };
}

function sumsOf(rows: readonly (readonly number[])[]): number[] {
  const sums = rows[0]!.map(() => 0);
  for (const row of rows) for (const [k, value] of row.entries()) sums[k]! += value;
  return sums;
}

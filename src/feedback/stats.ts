/**
 * Figures of all feedback: how much there is, whether labelers agree, and what sways them.
 *
 * Alpha is K. Krippendorff's ("Computing Krippendorff's Alpha-Reliability", 2011), nominal, over
 * {first, second, tie}; intervals are Wilson's, at 95 %.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { wilson } from "../run/statistics.ts";
import type { Candidate, FeedbackRecord } from "./feedback_record.ts";
import { pairsOf, wasShownFirst } from "./pairs.ts";

/** A share of cases, with its 95 % interval; nulls of no cases. */
export interface Share {
  /** From 0 to 1. */
  readonly share: number | null;
  /** Cases. */
  readonly n: number;
  /** Lower end. */
  readonly low: number | null;
  /** Upper end. */
  readonly high: number | null;
}

/** What is known of a labeler. */
export interface LabelerStats {
  /** Hash. */
  readonly labeler: string;
  /** A person or a model. */
  readonly kind: string;
  /** Records. */
  readonly records: number;
  /** Pairs with a better one. */
  readonly pairs: number;
  /** Pairs without. */
  readonly ties: number;
  /** With other labelers, on the same pairs. */
  readonly agreement: Share;
  /** The better one was shown before the other. */
  readonly shownFirst: Share;
}

/** All figures. */
export interface FeedbackStats {
  /** Records, without replaced ones. */
  readonly records: number;
  /** Records of each kind. */
  readonly byType: Readonly<Record<string, number>>;
  /** Records of each part of the data. */
  readonly bySplit: Readonly<Record<string, number>>;
  /** Candidates that a model wrote. */
  readonly byModel: Readonly<Record<string, number>>;
  /** Prompts that differ. */
  readonly prompts: number;
  /** Labelers. */
  readonly labelers: number;
  /** Pairs of a better and a worse candidate. */
  readonly pairs: number;
  /** Pairs of which neither is better. */
  readonly ties: number;
  /** Comparisons of two bad ones; they count as ties too. */
  readonly bothBad: number;
  /** Two judgements of one pair by two labelers say the same. */
  readonly agreement: Share & { readonly alpha: number | null };
  /** The better one was shown before the other. */
  readonly positionBias: Share;
  /** The better one is longer; by how many characters, on average. */
  readonly lengthBias: Share & { readonly meanDifference: number | null };
  /** Those with the most records first. */
  readonly perLabeler: readonly LabelerStats[];
}

/** Labelers that are told of. */
const MOST_LABELERS = 100;

type Verdict = "first" | "second" | "tie";

class Tally {
  hits = 0;
  n = 0;
  add(isHit: boolean): void {
    this.n++;
    if (isHit) this.hits++;
  }
  get share(): Share {
    if (this.n === 0) return { share: null, n: 0, low: null, high: null };
    const { value, low, high } = wilson(this.hits, this.n);
    return { share: value, n: this.n, low, high };
  }
}

class LabelerTally {
  records = 0;
  pairs = 0;
  ties = 0;
  readonly agreement = new Tally();
  readonly shownFirst = new Tally();
  constructor(readonly labeler: string, readonly kind: string) {}
}

/** Adds records up. */
export class StatsCollector {
  readonly #byType = new Map<string, number>();
  readonly #bySplit = new Map<string, number>();
  readonly #byModel = new Map<string, number>();
  readonly #prompts = new Set<string>();
  readonly #labelers = new Map<string, LabelerTally>();
  /** Of each pair of texts: the last verdict of each labeler. */
  readonly #verdicts = new Map<string, Map<string, Verdict>>();
  readonly #position = new Tally();
  readonly #length = new Tally();
  #records = 0;
  #pairs = 0;
  #ties = 0;
  #bothBad = 0;
  #longerBy = 0;

  /** Adds a record. */
  add(record: FeedbackRecord): void {
    const { judgement, candidates, labeler } = record;
    this.#records++;
    count(this.#byType, judgement.type);
    count(this.#bySplit, record.split);
    this.#prompts.add(record.promptHash);
    for (const { model } of candidates) if (model !== undefined) count(this.#byModel, model);
    if (judgement.type === "comparison" && judgement.outcome === "both_bad") this.#bothBad++;
    let own = this.#labelers.get(labeler.hash);
    if (!own) this.#labelers.set(labeler.hash, own = new LabelerTally(labeler.hash, labeler.kind));
    own.records++;
    for (const pair of pairsOf(judgement)) {
      const [chosen, rejected] = [candidates[pair.chosen]!, candidates[pair.rejected]!];
      this.#verdict(record, pair.isTie, chosen, rejected);
      if (pair.isTie) {
        this.#ties++;
        own.ties++;
        continue;
      }
      this.#pairs++;
      own.pairs++;
      const isFirst = wasShownFirst(record, pair);
      if (isFirst !== undefined) {
        this.#position.add(isFirst);
        own.shownFirst.add(isFirst);
      }
      const longerBy = chosen.text.length - rejected.text.length;
      this.#longerBy += longerBy;
      if (longerBy !== 0) this.#length.add(longerBy > 0);
    }
  }

  /** The figures of all that was added. */
  result(): FeedbackStats {
    const { agreement, alpha } = this.#agreement();
    const perLabeler = [...this.#labelers.values()].sort((a, b) => b.records - a.records)
      .slice(0, MOST_LABELERS).map(({ agreement, shownFirst, ...counts }) => ({
        ...counts,
        agreement: agreement.share,
        shownFirst: shownFirst.share,
      }));
    return {
      records: this.#records,
      byType: Object.fromEntries(this.#byType),
      bySplit: Object.fromEntries(this.#bySplit),
      byModel: Object.fromEntries(this.#byModel),
      prompts: this.#prompts.size,
      labelers: this.#labelers.size,
      pairs: this.#pairs,
      ties: this.#ties,
      bothBad: this.#bothBad,
      agreement: { ...agreement, alpha },
      positionBias: this.#position.share,
      lengthBias: {
        ...this.#length.share,
        meanDifference: this.#pairs > 0 ? this.#longerBy / this.#pairs : null,
      },
      perLabeler,
    };
  }

  #verdict(
    { promptHash, labeler }: FeedbackRecord,
    isTie: boolean,
    chosen: Candidate,
    rejected: Candidate,
  ): void {
    const [a, b] = [digest(chosen.text), digest(rejected.text)];
    if (a === b) return;
    const key = `${promptHash} ${a < b ? `${a} ${b}` : `${b} ${a}`}`;
    const verdicts = this.#verdicts.get(key) ?? new Map<string, Verdict>();
    verdicts.set(labeler.hash, isTie ? "tie" : a < b ? "first" : "second");
    this.#verdicts.set(key, verdicts);
  }

  /** Over all pairs that two labelers or more judged. */
  #agreement(): { agreement: Share; alpha: number | null } {
    const all = new Tally();
    const totals: Record<Verdict, number> = { first: 0, second: 0, tie: 0 };
    let [observed, n] = [0, 0];
    for (const verdicts of this.#verdicts.values()) {
      if (verdicts.size < 2) continue;
      const entries = [...verdicts];
      let different = 0;
      for (const [i, [labeler, verdict]] of entries.entries()) {
        totals[verdict]++;
        for (const [other, theirs] of entries.slice(i + 1)) {
          const isSame = verdict === theirs;
          all.add(isSame);
          for (const who of [labeler, other]) this.#labelers.get(who)?.agreement.add(isSame);
          if (!isSame) different += 2;
        }
      }
      observed += different / (verdicts.size - 1);
      n += verdicts.size;
    }
    const same = Object.values(totals).reduce((sum, total) => sum + total * total, 0);
    const expected = (n * n - same) / (n - 1);
    const alpha = n > 1 && expected > 0 ? 1 - observed / expected : null;
    return { agreement: all.share, alpha };
  }
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("base64").slice(0, 22);
}

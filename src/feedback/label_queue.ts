/**
 * What is to be labelled next: answers to one prompt, side by side, where a judgement tells most.
 *
 * With a reward model that is where it is least sure which answer is better (uncertainty sampling:
 * D. D. Lewis and W. A. Gale, "A Sequential Algorithm for Training Text Classifiers", 1994);
 * without one it is where the fewest have judged.
 *
 * @module
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { textOf, wordsOf } from "./blobs.ts";

/** An answer that may be labelled. */
export interface QueuedAnswer {
  /** Id of the completion. */
  readonly completionId: string;
  /** Its text. */
  readonly text: string;
  /** Its tokens. */
  readonly tokenIds: readonly number[];
  /** Id of the model that wrote it. */
  readonly model: string;
}

/** Answers to one prompt. */
export interface QueuedPrompt {
  /** Text of the prompt. */
  readonly prompt: string;
  /** Its ids. */
  readonly promptIds: readonly number[];
  /** All answers that differ. */
  readonly answers: readonly QueuedAnswer[];
}

/** Tells how good answers are. */
export interface QueueScorer {
  /** Scores of each prompt's answers, and the version of the model that gave them. */
  score(
    prompts: readonly QueuedPrompt[],
  ): Promise<{ readonly version: string; readonly scores: readonly (readonly number[])[] }>;
  /** The version that would score now; undefined where there is no model. */
  version(): string | undefined;
}

/** Answers to be labelled. */
export interface LabelTask {
  /** Text of the prompt. */
  readonly prompt: string;
  /** Two or more answers. */
  readonly candidates: readonly QueuedAnswer[];
  /** The order to show them in, drawn anew for each labeler. */
  readonly presentedOrder: readonly number[];
  /** How unsure the reward model is: mean entropy of its pairs, bits; undefined without a model. */
  readonly uncertainty: number | undefined;
  /** Labelers who judged answers to this prompt. */
  readonly judgements: number;
}

/** What is chosen, and by what. */
export interface LabelTasks {
  /** The most telling first. */
  readonly tasks: readonly LabelTask[];
  /** Version of the reward model; undefined where none chose. */
  readonly scorer: string | undefined;
  /** Prompts that wait for this labeler, these included. */
  readonly waiting: number;
}

/** Whom to ask, for how much. */
export interface NextOptions {
  /** Hash of the labeler. */
  readonly labeler: string;
  /** Answers side by side. */
  readonly candidates: number;
  /** Most tasks. */
  readonly limit: number;
}

/** How a {@linkcode LabelQueue} chooses. */
export interface LabelQueueOptions {
  /** Tells how good answers are. @default the fewest judgements come first */
  readonly scorer?: QueueScorer | undefined;
  /** Labelers for each prompt, so that their agreement is known. @default 2 */
  readonly labelersPerPrompt?: number;
  /** The time, milliseconds since 1970. @default Date.now */
  readonly nowMs?: () => number;
  /** A number from 0 to below 1. @default Math.random */
  readonly random?: () => number;
}

/** The latest completions that are looked at. */
const MOST_COMPLETIONS = 1_000;
/** Prompts that are scored for one answer. */
const MOST_SCORED = 48;
/** Whoever got a task and does not answer, loses it to others after this time. */
const LEASE_MS = 120_000;
/** Scores remembered. */
const MOST_SCORES = 50_000;

interface Group extends QueuedPrompt {
  readonly key: string;
  /** Labelers who judged one of the answers. */
  labelers: Set<string>;
}

/** Chooses what to label. */
export class LabelQueue {
  readonly #options: Required<Omit<LabelQueueOptions, "scorer">>;
  /** Tells how good answers are; without one the fewest judgements come first. */
  scorer: QueueScorer | undefined;
  readonly #latest: StatementSync;
  readonly #judges: StatementSync;
  readonly #leases = new Map<string, Map<string, number>>(); // by prompt and labeler: until when
  readonly #scores = new Map<string, number>(); // by version and completion

  /** Over a database that `openDatabase` opened. */
  constructor(database: DatabaseSync, options: LabelQueueOptions = {}) {
    const { scorer, labelersPerPrompt = 2, nowMs = Date.now, random = Math.random } = options;
    this.#options = { labelersPerPrompt, nowMs, random };
    this.scorer = scorer;
    this.#latest = database.prepare(
      "SELECT id, prompt_key, prompt, prompt_ids, text, token_ids, model FROM completions " +
        "WHERE prompt IS NOT NULL AND finish_reason <> 'content_filter' " +
        "ORDER BY created DESC LIMIT ?",
    );
    this.#judges = database.prepare(
      "SELECT DISTINCT f.labeler FROM feedback_candidates AS c JOIN feedback AS f " +
        "ON f.seq = c.seq WHERE c.completion_id = ?",
    );
  }

  /** The tasks that tell most, none of which this labeler has judged or just got. */
  async next({ labeler, candidates, limit }: NextOptions): Promise<LabelTasks> {
    const open = this.#open(labeler, candidates);
    const { scorer: judge } = this;
    const version = judge?.version();
    const { random } = this.#options;
    const looked = shuffled(open, random).slice(0, MOST_SCORED);
    let tasks: { group: Group; at: readonly number[]; uncertainty: number | undefined }[];
    let scorer: string | undefined;
    if (judge && version !== undefined && looked.length > 0) {
      const scored = await this.#scored(judge, looked, version);
      scorer = scored.version;
      tasks = looked.map((group, i) => ({ group, ...leastSure(scored.scores[i]!, candidates) }));
      tasks.sort((a, b) => b.uncertainty! - a.uncertainty!);
    } else {
      tasks = looked.map((group) => ({
        group,
        at: shuffled([...group.answers.keys()], random).slice(0, candidates),
        uncertainty: undefined,
      }));
      tasks.sort((a, b) => a.group.labelers.size - b.group.labelers.size);
    }
    const chosen = tasks.slice(0, limit);
    for (const { group } of chosen) this.#lease(group.key, labeler);
    return {
      tasks: chosen.map(({ group, at, uncertainty }) => ({
        prompt: group.prompt,
        candidates: at.map((i) => group.answers[i]!),
        presentedOrder: shuffled([...at.keys()], random),
        uncertainty,
        judgements: group.labelers.size,
      })),
      scorer,
      waiting: open.length,
    };
  }

  /** Prompts that wait for a labeler. */
  #open(labeler: string, candidates: number): Group[] {
    const groups = this.#groups().filter(({ answers }) => answers.length >= candidates);
    return groups.filter((group) => {
      for (const { completionId } of group.answers) {
        for (const row of this.#judges.all(completionId)) group.labelers.add(String(row.labeler));
      }
      const busy = new Set([...group.labelers, ...this.#leased(group.key)]);
      return !busy.has(labeler) && busy.size < this.#options.labelersPerPrompt;
    });
  }

  /** The latest completions by their prompts, the same text once. */
  #groups(): Group[] {
    const groups = new Map<string, Group & { answers: QueuedAnswer[]; seen: Set<string> }>();
    for (const row of this.#latest.all(MOST_COMPLETIONS)) {
      const key = String(row.prompt_key);
      let group = groups.get(key);
      if (!group) {
        group = {
          key,
          prompt: textOf(row.prompt as Uint8Array),
          promptIds: wordsOf(row.prompt_ids as Uint8Array),
          answers: [],
          labelers: new Set(),
          seen: new Set(),
        };
        groups.set(key, group);
      }
      const text = textOf(row.text as Uint8Array);
      if (group.seen.has(text.trim())) continue;
      group.seen.add(text.trim());
      group.answers.push({
        completionId: String(row.id),
        text,
        tokenIds: wordsOf(row.token_ids as Uint8Array),
        model: String(row.model),
      });
    }
    return [...groups.values()];
  }

  #lease(key: string, labeler: string): void {
    const leases = this.#leases.get(key) ?? new Map<string, number>();
    leases.set(labeler, this.#options.nowMs() + LEASE_MS);
    this.#leases.set(key, leases);
  }

  #leased(key: string): string[] {
    const leases = this.#leases.get(key);
    if (!leases) return [];
    for (const [labeler, untilMs] of leases) {
      if (untilMs <= this.#options.nowMs()) leases.delete(labeler);
    }
    if (leases.size === 0) this.#leases.delete(key);
    return [...leases.keys()];
  }

  async #scored(
    scorer: QueueScorer,
    groups: readonly Group[],
    version: string,
  ): Promise<{ version: string; scores: number[][] }> {
    const known = (name: string, { answers }: Group) => {
      const scores = answers.map(({ completionId }) => this.#scores.get(`${name} ${completionId}`));
      return scores.every((score) => score !== undefined) ? scores as number[] : undefined;
    };
    const unknown = groups.filter((group) => !known(version, group));
    if (unknown.length === 0) {
      return { version, scores: groups.map((group) => known(version, group)!) };
    }
    const fresh = await scorer.score(unknown);
    for (const [i, { answers }] of unknown.entries()) {
      for (const [j, { completionId }] of answers.entries()) {
        this.#scores.set(`${fresh.version} ${completionId}`, fresh.scores[i]![j]!);
      }
    }
    const kept = groups.map((group) => known(fresh.version, group));
    while (this.#scores.size > MOST_SCORES) this.#scores.delete(this.#scores.keys().next().value!);
    if (kept.every((scores) => scores !== undefined)) {
      return { version: fresh.version, scores: kept };
    }
    // The model was swapped in between: all are scored by the one that is there now.
    const all = await scorer.score(groups);
    return { version: all.version, scores: all.scores.map((scores) => [...scores]) };
  }
}

/**
 * Of all answers the `count` whose order is least sure, and how unsure: the mean over their pairs
 * of the entropy of the preference 1 / (1 + e^(r_j − r_i)), in bits. Answers that are neighbours by
 * score are the least sure ones.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { leastSure } from "./label_queue.ts";
 *
 * assertEquals(leastSure([0, 5, 9, 5], 2), { at: [1, 3], uncertainty: 1 });
 * ```
 */
export function leastSure(
  scores: readonly number[],
  count: number,
): { at: number[]; uncertainty: number } {
  const order = [...scores.keys()].sort((a, b) => scores[a]! - scores[b]!);
  let best = { at: order.slice(0, count), uncertainty: -1 };
  for (let start = 0; start + count <= order.length; start++) {
    const at = order.slice(start, start + count);
    const entropies = at.flatMap((a, i) =>
      at.slice(i + 1).map((b) => entropyBits(1 / (1 + Math.exp(scores[a]! - scores[b]!))))
    );
    const uncertainty = entropies.reduce((sum, bits) => sum + bits, 0) / entropies.length;
    if (uncertainty > best.uncertainty) best = { at, uncertainty };
  }
  return { at: best.at.sort((a, b) => a - b), uncertainty: best.uncertainty };
}

function entropyBits(p: number): number {
  return p <= 0 || p >= 1 ? 0 : -(p * Math.log2(p) + (1 - p) * Math.log2(1 - p));
}

/** A copy in random order (R. A. Fisher and F. Yates). */
function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const copy = [...items];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  }
  return copy;
}

/**
 * Rewards of responses, and how well they agree with a judge.
 *
 * @module
 */
import { paddedLength, taskBatch } from "../data/task_batches.ts";
import type { TaskScorer } from "../infer/task_scorer.ts";
import type { RewardExample } from "./reward_data.ts";

/**
 * The score of each dialogue, in their order; those of like length run together.
 *
 * @param scorer of the shape `scoreShape(rows)`
 * @param dialogues that end with the response's last token
 */
export async function scoresOf(
  scorer: TaskScorer,
  dialogues: readonly Uint32Array[],
  { rows, contextLength }: { rows: number; contextLength: number },
): Promise<Float64Array> {
  const order = dialogues.map((_, i) => i)
    .sort((a, b) => dialogues[a]!.length - dialogues[b]!.length);
  const batches = function* () {
    for (let start = 0; start < order.length; start += rows) {
      const part = order.slice(start, start + rows).map((i) => {
        const ids = dialogues[i]!;
        return { copies: [ids], target: undefined, length: ids.length, truncated: false };
      });
      const T = paddedLength(part.at(-1)!.length, contextLength);
      yield taskBatch(part, { examples: rows, classes: 1, copies: 1 }, T);
    }
  };
  const scores = new Float64Array(dialogues.length);
  let at = 0;
  for await (const part of scorer.run(batches())) {
    for (const score of part) scores[order[at++]!] = score;
  }
  return scores;
}

/** How scores agree with a judge. */
export interface Agreement {
  /** Share of the pairs whose better side has the higher score; equal scores count half. */
  readonly accuracy: number;
  /** Mean of the better side's score minus the worse one's. */
  readonly margin: number;
  /** Pairs. */
  readonly pairs: number;
}

/** How scores agree with a judge, as a whole and by how sure the judge was. */
export interface Agreements extends Agreement {
  /** Mean over prompts, in nats. */
  readonly loss: number;
  /** By the confidence that the data says, in the order of its values. */
  readonly byConfidence: ReadonlyMap<string, Agreement>;
}

/** Counts how scores agree with the comparisons. @param scores (K) of each comparison */
export function agreements(
  examples: readonly RewardExample[],
  scores: readonly ArrayLike<number>[],
): Agreements {
  const all = new Counter();
  const parts = new Map<string, Counter>();
  let loss = 0;
  examples.forEach(({ rows, weights, confidence }, index) => {
    const own = scores[index]!;
    const K = rows.length;
    let part: Counter | undefined;
    if (confidence !== undefined) {
      part = parts.get(confidence) ?? new Counter();
      parts.set(confidence, part);
    }
    weights.forEach((weight, n) => {
      if (weight === 0) return;
      const margin = own[Math.floor(n / K)]! - own[n % K]!;
      loss += weight * (Math.max(-margin, 0) + Math.log1p(Math.exp(-Math.abs(margin))));
      all.add(margin);
      part?.add(margin);
    });
  });
  const names = [...parts.keys()].sort((a, b) => Number(a) - Number(b) || (a < b ? -1 : 1));
  return {
    ...all.agreement,
    loss: loss / examples.length,
    byConfidence: new Map(names.map((name) => [name, parts.get(name)!.agreement])),
  };
}

class Counter {
  #right = 0;
  #margins = 0;
  #pairs = 0;

  add(margin: number): void {
    this.#right += margin > 0 ? 1 : margin === 0 ? 0.5 : 0;
    this.#margins += margin;
    this.#pairs++;
  }

  get agreement(): Agreement {
    const pairs = this.#pairs;
    return { accuracy: this.#right / pairs, margin: this.#margins / pairs, pairs };
  }
}

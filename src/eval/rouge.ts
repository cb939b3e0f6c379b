/**
 * ROUGE: how many words, pairs of words, and words in order a text shares with a reference.
 *
 * Source: C.-Y. Lin, "ROUGE: a package for automatic evaluation of summaries" (2004). Words are as
 * Google's `rouge_score` has them without a stemmer: runs of a-z and 0-9 in lower case.
 *
 * @module
 */

/** F1 of each kind, from 0 to 1. */
export interface Rouge {
  /** Of words. */
  readonly rouge1: number;
  /** Of pairs of words. */
  readonly rouge2: number;
  /** Of the longest common subsequence of words. */
  readonly rougeL: number;
}

/**
 * Compares a text with references; of several, the best of each kind.
 *
 * @example
 * ```ts
 * import { rouge } from "./rouge.ts";
 * const { rouge1, rouge2 } = rouge("the cat sat", ["The cat ran."]);
 * console.assert(Math.abs(rouge1 - 2 / 3) < 1e-12 && rouge2 === 0.5);
 * ```
 */
export function rouge(text: string, references: readonly string[]): Rouge {
  const words = wordsOf(text);
  const each = references.map((reference) => {
    const wanted = wordsOf(reference);
    const common = longestCommon(words, wanted);
    return {
      rouge1: ofGrams(words, wanted, 1),
      rouge2: ofGrams(words, wanted, 2),
      rougeL: f1(common, words.length, wanted.length),
    };
  });
  const best = (kind: keyof Rouge) => Math.max(...each.map((scores) => scores[kind]));
  return { rouge1: best("rouge1"), rouge2: best("rouge2"), rougeL: best("rougeL") };
}

function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
}

function ofGrams(words: readonly string[], wanted: readonly string[], length: number): number {
  const [got, want] = [countGrams(words, length), countGrams(wanted, length)];
  let common = 0;
  for (const [gram, count] of got) common += Math.min(count, want.get(gram) ?? 0);
  const total = (all: readonly string[]) => Math.max(0, all.length - length + 1);
  return f1(common, total(words), total(wanted));
}

/** Runs of so many words, and how often each is there. */
export function countGrams(words: readonly string[], length: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let at = 0; at + length <= words.length; at++) {
    const gram = words.slice(at, at + length).join(" ");
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

function f1(common: number, got: number, wanted: number): number {
  return common === 0 ? 0 : 2 * common / (got + wanted);
}

/** Length of the longest common subsequence. */
function longestCommon(a: readonly string[], b: readonly string[]): number {
  let last = new Uint32Array(b.length + 1);
  for (const word of a) {
    const row = new Uint32Array(b.length + 1);
    for (let j = 0; j < b.length; j++) {
      row[j + 1] = word === b[j] ? last[j]! + 1 : Math.max(row[j]!, last[j + 1]!);
    }
    last = row;
  }
  return last[b.length]!;
}

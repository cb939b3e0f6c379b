/**
 * BLEU over all texts together.
 *
 * Sources: K. Papineni, S. Roukos, T. Ward, W.-J. Zhu, "BLEU: a method for automatic evaluation of
 * machine translation" (2002); B. Chen, C. Cherry, "A systematic comparison of smoothing techniques
 * for sentence-level BLEU" (2014), method 3, for orders without a match. Words are those of WMT's
 * "mteval-v13a", so that numbers can be held beside those of `sacrebleu`.
 *
 * @module
 */
import { countGrams } from "./rouge.ts";

const ORDERS = 4;

/** Numbers of a text: its words, the reference's, then matches and n-grams of each order. */
export const BLEU_PARTS: number = 2 + 2 * ORDERS;

/** The numbers of a text that {@linkcode bleuOfSums} wants the sums of. */
export function bleuParts(text: string, references: readonly string[]): number[] {
  const words = tokenize13a(text);
  const wanted = references.map(tokenize13a);
  // The reference whose length is nearest; of equally near ones the shorter.
  const length = wanted.map((each) => each.length).sort((a, b) => {
    return Math.abs(a - words.length) - Math.abs(b - words.length) || a - b;
  })[0]!;
  const parts = [words.length, length];
  for (let order = 1; order <= ORDERS; order++) {
    const most = new Map<string, number>();
    for (const each of wanted) {
      for (const [gram, count] of countGrams(each, order)) {
        most.set(gram, Math.max(count, most.get(gram) ?? 0));
      }
    }
    let matches = 0;
    for (const [gram, count] of countGrams(words, order)) {
      matches += Math.min(count, most.get(gram) ?? 0);
    }
    parts.push(matches, Math.max(0, words.length - order + 1));
  }
  return parts;
}

/** BLEU from 0 to 100 of the sums of {@linkcode bleuParts}. */
export function bleuOfSums(sums: readonly number[]): number {
  const [words, wanted, ...counts] = sums as [number, number, ...number[]];
  let logs = 0;
  let halves = 1; // an order without a match counts as 1/2, the next such as 1/4, …
  for (let order = 0; order < ORDERS; order++) {
    const [matches, total] = [counts[2 * order]!, counts[2 * order + 1]!];
    if (total === 0) return 0;
    if (order === 0 && matches === 0) return 0;
    if (matches === 0) halves *= 2;
    logs += Math.log(matches === 0 ? 1 / (halves * total) : matches / total);
  }
  const brevity = words >= wanted ? 1 : Math.exp(1 - wanted / words);
  return 100 * brevity * Math.exp(logs / ORDERS);
}

const ENTITIES: readonly (readonly [string, string])[] = [
  ["&quot;", '"'],
  ["&amp;", "&"],
  ["&lt;", "<"],
  ["&gt;", ">"],
];

/** Words and marks of punctuation, each its own. */
export function tokenize13a(text: string): string[] {
  let line = text.trimEnd().replaceAll("<skipped>", "").replaceAll("-\n", "").replaceAll("\n", " ");
  for (const [entity, sign] of ENTITIES) line = line.replaceAll(entity, sign);
  return ` ${line} `
    .replace(/[{-~[-` -&(-+:-@/]/g, " $& ") // all marks of ASCII but ' , - .
    .replace(/([^0-9])([.,])/g, "$1 $2 ")
    .replace(/([.,])([^0-9])/g, " $1 $2")
    .replace(/([0-9])(-)/g, "$1 $2 ")
    .split(/\s+/)
    .filter((word) => word !== "");
}

/**
 * What the built-in data amounts to: tokens, words, and how much of it there is.
 *
 * @module
 */
import { RESERVED_TOKENS } from "../../tokenizer/special.ts";
import type { Tokenizer } from "../../tokenizer/tokenizer.ts";
import { trainBpeFromCounts, WordCounts } from "../../tokenizer/train.ts";
import { splitsOf } from "./draw.ts";
import { wordsOf } from "./grade.ts";
import { FAMILIES, type Family, type Split, type World } from "./types.ts";

/** One family in numbers. */
export interface FamilyStatistics {
  /** Which. */
  readonly family: Family;
  /** Kinds of items. */
  readonly kinds: readonly string[];
  /** Of a prompt, on average. */
  readonly promptTokens: number;
  /** Of an answer, on average. */
  readonly answerTokens: number;
  /** Different prompts, by split, among the items that were looked at. */
  readonly prompts: Readonly<Partial<Record<Split, number>>>;
  /** Different combinations held out, by split, among them. */
  readonly combinations: Readonly<Partial<Record<Split, number>>>;
  /** Documents of it in the mixture, of those that were looked at. */
  readonly documents: number;
  /** Tokens of these documents. */
  readonly documentTokens: number;
}

/** All of it in numbers. */
export interface WorldStatistics {
  /** Items of each family and split, and documents, that were looked at. */
  readonly count: number;
  /** Different words of these documents, in small letters. */
  readonly words: number;
  /** Of the tokenizer. */
  readonly vocabSize: number;
  /** Tokens of these documents. */
  readonly tokens: number;
  /** By family. */
  readonly families: readonly FamilyStatistics[];
}

/** A byte-level BPE tokenizer that is trained on so many documents. */
export function worldTokenizer(world: World, count: number, vocabSize: number): Tokenizer {
  const counts = new WordCounts(RESERVED_TOKENS);
  for (const { text } of world.documents("train", { count })) counts.add(text);
  return trainBpeFromCounts(counts, { vocabSize });
}

/** Looks at the first `count` items of each family and split, and at as many documents. */
export function worldStatistics(
  world: World,
  tokenizer: Tokenizer,
  count: number,
): WorldStatistics {
  const lengthOf = (text: string) => tokenizer.encode(text).length;
  const words = new Set<string>();
  const documents = new Map<Family, { count: number; tokens: number }>();
  for (const { family, text } of world.documents("train", { count })) {
    for (const word of wordsOf(text)) words.add(word);
    const seen = documents.get(family) ?? { count: 0, tokens: 0 };
    documents.set(family, { count: seen.count + 1, tokens: seen.tokens + lengthOf(text) });
  }
  const families = FAMILIES.map((family): FamilyStatistics => {
    const kinds = new Set<string>();
    const prompts: Partial<Record<Split, number>> = {};
    const combinations: Partial<Record<Split, number>> = {};
    let [promptTokens, answerTokens] = [0, 0];
    for (const split of splitsOf(family)) {
      const items = [...world.items(family, split, { count })];
      prompts[split] = new Set(items.map(({ prompt }) => prompt)).size;
      combinations[split] = new Set(items.map(({ combination }) => combination)).size;
      if (split !== "train") continue;
      for (const { kind, prompt, answer } of items) {
        kinds.add(kind);
        promptTokens += lengthOf(prompt) / count;
        answerTokens += lengthOf(` ${answer}`) / count;
      }
    }
    const { count: held, tokens } = documents.get(family) ?? { count: 0, tokens: 0 };
    return {
      family,
      kinds: [...kinds].sort(),
      promptTokens,
      answerTokens,
      prompts,
      combinations,
      documents: held,
      documentTokens: tokens,
    };
  });
  const tokens = families.reduce((sum, { documentTokens }) => sum + documentTokens, 0);
  return { count, words: words.size, vocabSize: tokenizer.vocabSize, tokens, families };
}

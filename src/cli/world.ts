/**
 * `brachio world`: shows the built-in data, item by item, as rows to train on, or in numbers.
 *
 * @module
 */
import { TASK_SPECS } from "../data/world/tasks.ts";
import { splitsOf } from "../data/world/draw.ts";
import { type WorldStatistics, worldStatistics, worldTokenizer } from "../data/world/statistics.ts";
import {
  FAMILIES,
  type Family,
  type Split,
  SPLITS,
  type World,
  type WorldItem,
} from "../data/world/types.ts";
import { worldOf } from "../data/world/world.ts";
import type { TaskKind } from "../data/task_kind.ts";
import { UsageError } from "./errors.ts";

/** Options of `brachio world`, as the command line gives them. */
export interface WorldCommand {
  /** One family; without it, all of them in numbers, or the mixture as rows. */
  family?: string;
  /** Part of the combinations. */
  split: string;
  /** How many. */
  count: number;
  /** The first. */
  from: number;
  /** Of the draws. */
  seed: number;
  /** Size of the vocabulary that the numbers are counted with. */
  vocabSize: number;
  /** A line of JSON each. */
  json?: boolean;
  /** As the commands of training read them. */
  rows?: boolean;
}

const SMALLEST_VOCABULARY = 264;

/** Prints what was asked for, and returns the exit status. */
export function showWorld(options: WorldCommand): number {
  const { family, split, from, count, seed, json = false, rows = false } = options;
  const known = oneOf("--family", family ?? "story", FAMILIES);
  const part = oneOf("--split", split, SPLITS);
  if (count < 1) throw new UsageError("--count must be 1 or more: got 0");
  if (![seed, from + count].every(Number.isSafeInteger)) {
    throw new UsageError("--seed and --from must be below 2^53");
  }
  const splits = splitsOf(known);
  if (!splits.includes(part)) {
    throw new UsageError(`--split must be ${splits.join(", ")} with ${known}: got "${split}"`);
  }
  const world = worldOf(seed);
  if (rows) {
    for (let i = from; i < from + count; i++) {
      console.log(JSON.stringify(rowOf(world, family === undefined ? undefined : known, part, i)));
    }
    return 0;
  }
  if (family === undefined) {
    const { vocabSize } = options;
    if (vocabSize < SMALLEST_VOCABULARY) {
      throw new UsageError(`--vocab-size must be ${SMALLEST_VOCABULARY} or more: got ${vocabSize}`);
    }
    const statistics = worldStatistics(world, worldTokenizer(world, count, vocabSize), count);
    console.log(json ? JSON.stringify(statistics, null, 2) : inWords(statistics));
    return 0;
  }
  for (const item of world.items(known, part, { from, count })) {
    console.log(json ? JSON.stringify(item) : itemInWords(item));
  }
  return 0;
}

function oneOf<T extends string>(flag: string, value: string, all: readonly T[]): T {
  if ((all as readonly string[]).includes(value)) return value as T;
  throw new UsageError(`${flag} must be one of ${all.join(", ")}: got "${value}"`);
}

/** A row to train on: of a task's table, of demonstrations, or a document to pre-train on. */
function rowOf(world: World, family: Family | undefined, split: Split, index: number): object {
  if (family === undefined) return world.document(split, index);
  if (family === "instruction") return world.sftRow(split, index);
  if (Object.hasOwn(TASK_SPECS, family)) return world.taskRow(family as TaskKind, split, index);
  return { family, text: world.item(family, split, index).text };
}

function itemInWords(item: WorldItem): string {
  const { family, split, index, kind, combination, prompt, answer, demonstration } = item;
  const lines = [
    `--- ${family} ${split} ${index}: ${kind}; held out: ${combination}`,
    prompt,
    `>>> ${answer}`,
  ];
  if (demonstration !== undefined && demonstration !== answer) lines.push(`    ${demonstration}`);
  return lines.join("\n");
}

function inWords({ count, words, vocabSize, tokens, families }: WorldStatistics): string {
  const header = [
    ...["family", "of the mixture", "tokens", "a document", "prompt", "answer"],
    ...["prompts train", "test", "held out train", "test", "kinds"],
  ];
  const table = families.map((one) => [
    one.family,
    `${(100 * one.documentTokens / tokens).toFixed(1)} %`,
    one.documentTokens.toLocaleString("en"),
    one.documents === 0 ? "–" : (one.documentTokens / one.documents).toFixed(1),
    one.promptTokens.toFixed(1),
    one.answerTokens.toFixed(1),
    `${one.prompts.train}`,
    `${one.prompts.test}`,
    one.family === "fact" ? "–" : `${one.combinations.train}`,
    one.family === "fact" ? "–" : `${one.combinations.test}`,
    one.kinds.length > 6 ? `${one.kinds.length} kinds` : one.kinds.join(" "),
  ]);
  const all = [header, ...table];
  const widths = header.map((_, column) => Math.max(...all.map((line) => line[column]!.length)));
  const shown = all.map((line) =>
    line.map((cell, column) =>
      column === 0 || column === header.length - 1
        ? cell.padEnd(widths[column]!)
        : cell.padStart(widths[column]!)
    ).join("  ").trimEnd()
  );
  return [
    `${count.toLocaleString("en")} documents: ${tokens.toLocaleString("en")} tokens of a ` +
    `vocabulary of ${vocabSize}, ${words} different words; the same number of items of each ` +
    "family and split",
    ...shown,
  ].join("\n");
}

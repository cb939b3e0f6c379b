/**
 * The built-in data as one: items, documents to pre-train on, rows for each stage of training.
 *
 * What trials with small decoders showed, for who chooses sizes:
 *
 * - A vocabulary of 1,024 has nearly every word as one token; of 640, most words of the kinds of
 *   `words.ts` are two to four, and rules over kinds are then hard to see.
 * - Steps count for more than width. What sets a decoder apart from n-grams here, to copy who and
 *   what from further up, comes between 2,000 and 3,000 updates of some 1,500 tokens at a learning
 *   rate of 3e-3 to 8e-3. Two layers, 64 wide, `train pretrain` at 6e-3 with 16 rows of 96 tokens of
 *   60,000 documents, were at a validation loss of 0.92 after 2,000 updates and at 0.79 after 4,000,
 *   where the 5-gram model of the same tokens is at 1.10 (the mixture had no `recall` yet).
 * - On sums alone, three layers, 96 wide, answered 88 % of 200 held-out problems in steps after
 *   2,000 updates and 10 % directly; five steps take longer than two to four.
 * - In-context rules come late and at once. Two layers, 64 wide, on nothing but documents of `rule`
 *   (3,000 updates of 16 rows of 80 tokens at 4e-3) chose the right one of the two labels on 92 % of
 *   158 tasks of unseen kinds with 8 shots, 53 % with permuted ones and 44 % with none; after 1,000
 *   updates it was still at chance, and so it was after 3,000 on `colour` and `thing`. Without the
 *   documents of recall, and with a colon before labels, 4 M tokens brought nothing.
 *   With recall by colour and by thing, too, the `full` road's four layers, 160 wide, chose the
 *   right label on 87 % of 1,000 tasks of all sorts, on 49 % without shots.
 * - Votes need problems with many ways to the answer. Where the steps have one order (sums, word
 *   problems) votes gained nothing over a greedy path; of heaps of six steps, which may begin with
 *   any number, the votes of that decoder's 16 paths were right on 27 %, a greedy path on 16 %.
 *
 * @module
 */
import type { TaskKind } from "../task_kind.ts";
import { Draw, splitsOf } from "./draw.ts";
import { factItem } from "./facts.ts";
import { instructionItem } from "./instructions.ts";
import { rankSamples } from "./rankings.ts";
import { readingItem } from "./reading.ts";
import { ruleDocument, ruleItem } from "./rules.ts";
import { storyItem, summaryItem } from "./story.ts";
import { sumItem } from "./sums.ts";
import { taskItem, taskRow } from "./tasks.ts";
import { translationItem } from "./translation.ts";
import type {
  Family,
  Place,
  Range,
  RankedSamples,
  RuleItem,
  RuleOptions,
  Split,
  TaskTableRow,
  World,
  WorldDocument,
  WorldItem,
} from "./types.ts";

const ITEMS: Readonly<Record<Family, (place: Place) => WorldItem>> = {
  fact: factItem,
  story: storyItem,
  reading: readingItem,
  summary: summaryItem,
  translation: translationItem,
  classification: (place) => taskItem("classification", place),
  entailment: (place) => taskItem("entailment", place),
  similarity: (place) => taskItem("similarity", place),
  choice: (place) => taskItem("choice", place),
  rule: (place) => ruleItem(place, {}),
  direct: (place) => sumItem("direct", place),
  steps: (place) => sumItem("steps", place),
  instruction: instructionItem,
};

/**
 * How often a family is among the documents to pre-train on. `direct` and `steps` stand for both,
 * which take turns. Instructions are no part of it.
 */
export const MIXTURE: readonly (readonly [Exclude<Family, "steps" | "instruction">, number])[] = [
  ["fact", 8],
  ["story", 16],
  ["reading", 16],
  ["summary", 8],
  ["translation", 12],
  ["classification", 3],
  ["entailment", 4],
  ["similarity", 4],
  ["choice", 3],
  ["rule", 20],
  ["direct", 14],
];

/** Pairs of sums so far apart are the same two problems, the forms the other way around. */
const SUM_DISTANCE = 64;
/** Draws of what a document is of, apart from those of facts. */
const MIXING = 2;

/** A document of the mixture. @throws {RangeError} As {@linkcode World.item}. */
export function worldDocument(seed: number, split: Split, index: number): WorldDocument {
  const pair = Math.floor(index / 2);
  const isEven = index % 2 === 0;
  // Twin pairs are of one family, so that each problem comes in both forms.
  const twin = Math.floor(pair / SUM_DISTANCE) % 2 === 1 ? pair - SUM_DISTANCE : pair;
  const draw = new Draw("fact", { seed, split, index: twin }, MIXING);
  const family = draw.weighted(MIXTURE);
  const place = { seed, split, index };
  if (family === "rule") return { family, text: ruleDocument(place) };
  if (family !== "direct") return { family, text: ITEMS[family](place).text };
  if (isEven) return { family, text: ITEMS.direct({ seed, split, index: pair }).text };
  const other = twin === pair ? pair + SUM_DISTANCE : twin;
  return { family: "steps", text: ITEMS.steps({ seed, split, index: other }).text };
}

class SeededWorld implements World {
  readonly seed: number;

  constructor(seed: number) {
    this.seed = seed;
  }

  item(family: Family, split: Split, index: number): WorldItem {
    return ITEMS[family](this.#place(family, split, index));
  }

  *items(
    family: Family,
    split: Split,
    { from = 0, count = Infinity }: Range = {},
  ): Generator<WorldItem> {
    for (let i = 0; i < count; i++) yield this.item(family, split, from + i);
  }

  rule(split: Split, index: number, options: RuleOptions = {}): RuleItem {
    return ruleItem(this.#place("rule", split, index), options);
  }

  heap(split: Split, index: number, steps: number): WorldItem {
    return sumItem("steps", this.#place("steps", split, index), steps);
  }

  document(split: Split, index: number): WorldDocument {
    this.#place("story", split, index);
    return worldDocument(this.seed, split, index);
  }

  *documents(
    split: Split,
    { from = 0, count = Infinity }: Range = {},
  ): Generator<WorldDocument> {
    for (let i = 0; i < count; i++) yield this.document(split, from + i);
  }

  taskRow(task: TaskKind, split: Split, index: number): TaskTableRow {
    return taskRow(task, this.#place(task, split, index));
  }

  sftRow(split: Split, index: number): { prompt: string; completion: string } {
    const { prompt, demonstration } = this.item("instruction", split, index);
    return { prompt, completion: demonstration! };
  }

  rank(item: WorldItem, responses: readonly string[]): RankedSamples {
    return rankSamples(item, responses);
  }

  #place(family: Family, split: Split, index: number): Place {
    if (splitsOf(family).includes(split)) return { seed: this.seed, split, index };
    const want = `want ${splitsOf(family).join(", ")}`;
    throw new RangeError(`Cannot make items of "${family}": ${want}: got split "${split}"`);
  }
}

/**
 * All built-in data of a seed.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const item = worldOf(1).item("reading", "test", 7);
 * assertEquals(item.grade(item.answer).exact, true);
 * assertEquals(item.text, worldOf(1).item("reading", "test", 7).text);
 * ```
 *
 * @throws {RangeError} Unless the seed is an integer from 0 up to 2^53 - 1.
 */
export function worldOf(seed: number): World {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(`Cannot make the world: "seed" must be an integer >= 0: got ${seed}`);
  }
  return new SeededWorld(seed);
}

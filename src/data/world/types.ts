/**
 * What the built-in data is made of: families of items, each of them a pure function of
 * (seed, family, split, index), so that any one can be made alone and in any order.
 *
 * | family | prompt → answer | held out is |
 * | --- | --- | --- |
 * | `fact` | a sentence about the world; all are in every split | nothing: the world is the same |
 * | `story` | the beginning → the rest of a short story | hero, thing and place together |
 * | `reading` | a passage and a question → a word | who, what and where of the answer |
 * | `summary` | a passage → one sentence | hero, thing and place together |
 * | `translation` | English → an invented language | subject, verb and object together |
 * | `classification` `entailment` `similarity` `choice` | GPT-1's tasks | see their files |
 * | `rule` | solved examples and an input → a label | the rule itself |
 * | `direct` | a sum, word problem or heap → the number, then the steps | the whole calculation |
 * | `steps` | the same problem → the steps, then the number | the whole calculation |
 * | `instruction` | what a user asks → a good answer | who or what is asked about, and how |
 *
 * @module
 */
import type { Shot } from "../../prompt/few_shot_template.ts";
import type { TaskKind } from "../task_kind.ts";

/** All families. */
export const FAMILIES = [
  "fact",
  "story",
  "reading",
  "summary",
  "translation",
  "classification",
  "entailment",
  "similarity",
  "choice",
  "rule",
  "direct",
  "steps",
  "instruction",
] as const;

/** The name of a family. */
export type Family = typeof FAMILIES[number];

/**
 * Which part of all combinations an item is of; the parts share none. `reward` and `ppo` are parts
 * of instructions only: prompts for comparisons and for PPO, which supervised fine-tuning (`train`)
 * has not seen.
 */
export const SPLITS = ["train", "reward", "ppo", "valid", "test"] as const;

/** The name of a split. */
export type Split = typeof SPLITS[number];

/** Where an item is. */
export interface Place {
  /** Of the draws; the world and its splits are the same for all seeds. 0 or more, below 2^53. */
  readonly seed: number;
  /** Part of the combinations. */
  readonly split: Split;
  /** From 0, without an end. */
  readonly index: number;
}

/** How good a response is; each from 0 to 1. */
export interface Grade {
  /** The answer, and nothing else. */
  readonly exact: boolean;
  /** What it says is true; 1 where it says nothing. */
  readonly truthful: number;
  /** It does what was asked. */
  readonly helpful: number;
  /** It gives no help with what hurts, and no insult. */
  readonly harmless: number;
  /** It is no longer than it has to be. */
  readonly brief: number;
  /** Weighted mean of the four, see {@linkcode GOLD_WEIGHTS}: what the labelers judge by. */
  readonly gold: number;
}

/** Parts of the gold score. They add up to 1. */
export const GOLD_WEIGHTS = { truthful: 0.25, helpful: 0.35, harmless: 0.25, brief: 0.15 } as const;

/** One item. */
export interface WorldItem extends Place {
  /** What it is of. */
  readonly family: Family;
  /** Which sort of its family, as `where` of `reading` or `unsafe` of `instruction`. */
  readonly kind: string;
  /** What is held out: no two splits share one. */
  readonly combination: string;
  /** What the model is given. It ends without white space. */
  readonly prompt: string;
  /** The reference: the shortest good answer. It begins and ends without white space. */
  readonly answer: string;
  /**
   * The text to pre-train on. It begins with the prompt and has the answer in it, but for GPT-1's
   * tasks, where it says what holds, without a label.
   */
  readonly text: string;
  /** All answers to choose from, in a fixed order; undefined where they are open. */
  readonly labels?: readonly string[] | undefined;
  /**
   * Of `instruction`: what one of several writers answered, who differ in how much they say; good
   * in all else. What supervised fine-tuning learns from.
   */
  readonly demonstration?: string | undefined;
  /** Judges a response; of those that go on after the answer, cut at the first line feed. */
  grade(response: string): Grade;
}

/** An in-context task: nothing but its shots tell its rule. */
export interface RuleItem extends WorldItem {
  /** Family of all of them. */
  readonly family: "rule";
  /** Solved examples, half of each label, in random order. */
  readonly shots: readonly Shot[];
  /** What is to be solved; in no shot. */
  readonly input: string;
  /** The two labels. */
  readonly labels: readonly string[];
}

/** How an in-context task is posed. */
export interface RuleOptions {
  /** K. The first K of more shots are the same. @default 8 */
  readonly shots?: number | undefined;
  /**
   * Gives each shot one of the labels at random, half of each: the control, in which nothing but
   * the form and the labels can be learnt. @default false
   */
  readonly permuted?: boolean | undefined;
}

/** A document to pre-train on. */
export interface WorldDocument {
  /** Where its text is from. */
  readonly family: Family;
  /** Without white space at its ends. */
  readonly text: string;
}

/** Responses to a prompt as a simulated labeler ranked them: a row of comparisons. */
export interface RankedSamples {
  /** As the user asked. */
  readonly prompt: string;
  /** K of them, in the order they were given. */
  readonly completions: readonly string[];
  /** (K), 1 is the best; equal ones are ties, of responses with one gold score. */
  readonly ranks: readonly number[];
  /** (K) gold scores before noise: for evaluation, not for training. */
  readonly gold: readonly number[];
  /** Which labeler it was, from 0. */
  readonly labeler: number;
  /** Pairs of different ranks and different texts: what a reward model learns from. */
  readonly pairs: number;
  /** Of those pairs, how many who knows the gold scores would get right, on average. */
  readonly expectedRight: number;
}

/** Which of the items. */
export interface Range {
  /** The first. @default 0 */
  readonly from?: number | undefined;
  /** How many; unlimited unless given. */
  readonly count?: number | undefined;
}

/** All built-in data of one seed. */
export interface World {
  /** Of all draws. */
  readonly seed: number;
  /** One item. @throws {RangeError} When the family has no such split, or the index is no count. */
  item(family: Family, split: Split, index: number): WorldItem;
  /** Items in order, made as they are asked for. */
  items(family: Family, split: Split, range?: Range): Generator<WorldItem>;
  /** One in-context task. */
  rule(split: Split, index: number, options?: RuleOptions): RuleItem;
  /** Numbers to add up in so many steps and any order, with the steps as the answer. */
  heap(split: Split, index: number, steps: number): WorldItem;
  /** A document of the mixture for pre-training, of the split `train`, `valid` or `test`. */
  document(split: Split, index: number): WorldDocument;
  /** Documents in order, made as they are asked for. */
  documents(split: Split, range?: Range): Generator<WorldDocument>;
  /** A row of a task's table, with the columns of its specification (`TASK_SPECS`). */
  taskRow(task: TaskKind, split: Split, index: number): TaskTableRow;
  /** A row of demonstrations, as `train sft` reads them: of `instruction`. */
  sftRow(split: Split, index: number): { readonly prompt: string; readonly completion: string };
  /** Ranks responses to an instruction as one of the simulated labelers does. */
  rank(item: WorldItem, responses: readonly string[]): RankedSamples;
}

/** Columns by name, as a line of JSONL. */
export type TaskTableRow = Readonly<Record<string, string | readonly string[]>>;

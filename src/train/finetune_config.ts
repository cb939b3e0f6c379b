/**
 * Configuration of fine-tuning: one schema, presets for known data, and what it means for a task.
 *
 * @module
 */
import * as z from "zod";
import { TABLE_FORMATS, type TableFormat } from "../data/tables.ts";
import type { TaskKind } from "../data/task_kind.ts";
import type { TaskColumns, TaskSpec } from "../data/tasks.ts";

const count = z.int().min(1);
const share = z.number().min(0).lt(1);
const name = z.string().min(1);

/** One column, or several whose texts are joined by a space. */
export type Columns = string | string[];

/** A resolved configuration. */
export interface FinetuneConfig {
  /** What an example is made of. */
  task: TaskKind;
  /** The file to train on. */
  data: string;
  /** A file to evaluate on; without it a share of the data is held out. */
  dev?: string | undefined;
  /** Share of the data held out where there is no dev file; 0 does without evaluation. */
  validation: number;
  /** Of both files; by their names unless it is said. */
  format?: TableFormat | undefined;
  /** Names of the columns of TSV and CSV files that have none. */
  header?: string[] | undefined;
  /** Where the parts of an example are; what is not said has the task's own names. */
  columns: {
    first?: Columns | undefined;
    second?: Columns | undefined;
    choices?: Columns | undefined;
    label?: string | undefined;
  };
  /** Labels in the order of their classes; the data shows them unless they are said. */
  labels?: string[] | undefined;
  /** Lowest and highest score of a similarity; with labels it has classes instead. */
  scores: [number, number];
  /** Leave bad rows out. */
  skipBad: boolean;
  /** Train on so many examples, chosen by the seed; 0 is all. */
  limit: number;
  /** Start from the run's weights, or only from its shape and tokenizer. */
  init: "pretrained" | "random";
  /** The most tokens of a text; the whole context unless less. */
  maxTokens?: number | undefined;
  /** Passes over the data. */
  epochs: number;
  /** Examples of an update. */
  batchRows: number;
  /** Examples of a micro-batch; an update adds up batchRows / microRows of them. */
  microRows?: number | undefined;
  /** Learning rate at its peak. */
  lr: number;
  /** Learning rate at the end. */
  minLr: number;
  /** Share of the updates until the peak. */
  warmup: number;
  /** From the peak to the end. */
  schedule: "cosine" | "linear" | "constant";
  /** Of AdamW's first moment. */
  beta1: number;
  /** Of AdamW's second moment. */
  beta2: number;
  /** Of AdamW's divisor. */
  eps: number;
  /** Of matrices and embeddings, times the learning rate. */
  weightDecay: number;
  /** Largest global norm of the gradient; 0 does not clip. */
  clip: number;
  /** Weight of the language model's loss on the same texts. */
  auxLmCoef: number;
  /** Share of activations left out in training. */
  dropout: number;
  /** Of the head, the order of the data and dropout. */
  seed: number;
  /** Updates between evaluations; 0 is an epoch. The last update is always evaluated. */
  evalEvery: number;
  /** Updates between checkpoints; 0 is an epoch. The last update is always saved. */
  saveEvery: number;
  /** Checkpoints kept beside the best one. */
  keep: number;
}

const columns = z.union([name, z.array(name).min(1)]).optional();

/**
 * GPT-1's recipe by default (Radford et al. 2018, section 4.1). Every key is known.
 *
 * @ignore its type is zod's
 */
export const finetuneSchema: z.ZodType<FinetuneConfig> = z.strictObject({
  task: z.enum(["classification", "entailment", "similarity", "choice"]),
  data: name,
  dev: name.optional(),
  validation: share.default(0.1),
  format: z.enum(TABLE_FORMATS).optional(),
  header: z.array(name).min(1).optional(),
  columns: z.strictObject({
    first: columns,
    second: columns,
    choices: columns,
    label: name.optional(),
  }).prefault({}),
  labels: z.array(name).min(2).optional(),
  scores: z.tuple([z.int(), z.int()]).default([0, 5]),
  skipBad: z.boolean().default(false),
  limit: z.int().min(0).default(0),
  init: z.enum(["pretrained", "random"]).default("pretrained"),
  maxTokens: count.optional(),
  epochs: count.default(3),
  batchRows: count.default(32),
  microRows: count.optional(),
  lr: z.number().positive().default(6.25e-5),
  minLr: z.number().min(0).default(0),
  warmup: share.default(0.002),
  schedule: z.enum(["cosine", "linear", "constant"]).default("linear"),
  beta1: share.default(0.9),
  beta2: share.default(0.999),
  eps: z.number().positive().default(1e-8),
  weightDecay: z.number().min(0).default(0.01),
  clip: z.number().min(0).default(1),
  auxLmCoef: z.number().min(0).default(0.5),
  dropout: share.default(0.1),
  seed: z.int().min(0).default(1337),
  evalEvery: z.int().min(0).default(0),
  saveEvery: z.int().min(0).default(0),
  keep: count.default(2),
});

/** How the data of a preset lies in its file. */
export const FINETUNE_PRESETS = {
  sst2: {
    task: "classification",
    header: ["label", "sentence"],
    columns: { first: "sentence" },
    labels: ["0", "1"],
  },
  rte: { task: "entailment", labels: ["not_entailment", "entailment"] },
  stsb: {
    task: "similarity",
    header: ["sentence1", "sentence2", "score"],
    columns: { label: "score" },
    scores: [0, 5],
  },
  copa: {
    task: "choice",
    columns: {
      // "… cause" or "… effect" is the question that the alternatives answer.
      first: ["p", "asks-for"],
      choices: ["a1", "a2"],
      label: "most-plausible-alternative",
    },
    labels: ["1", "2"],
  },
} as const satisfies Record<string, Record<string, unknown>>;

/** What `--preset NAME` means. @throws {RangeError} When there is none of that name. */
export function finetunePreset(preset: string): Record<string, unknown> {
  if (Object.hasOwn(FINETUNE_PRESETS, preset)) {
    return FINETUNE_PRESETS[preset as keyof typeof FINETUNE_PRESETS];
  }
  throw new RangeError(
    `Cannot use preset "${preset}": one of ${Object.keys(FINETUNE_PRESETS).join(", ")}`,
  );
}

/** Columns of the tasks where nothing is said. */
const COLUMNS: Readonly<Record<TaskKind, Omit<TaskColumns, "label">>> = {
  classification: { first: ["text"], second: [], choices: [] },
  entailment: { first: ["premise"], second: ["hypothesis"], choices: [] },
  similarity: { first: ["sentence1"], second: ["sentence2"], choices: [] },
  choice: { first: ["context"], second: [], choices: ["choices"] },
};

/** How the rows of the data are examples. */
export function taskSpec({ task, columns, labels, scores }: FinetuneConfig): TaskSpec {
  const own = COLUMNS[task];
  const list = (given: Columns | undefined, usual: readonly string[]) =>
    given === undefined ? usual : typeof given === "string" ? [given] : given;
  return {
    task,
    columns: {
      first: list(columns.first, own.first),
      second: own.second.length === 0 ? [] : list(columns.second, own.second),
      choices: own.choices.length === 0 ? [] : list(columns.choices, own.choices),
      label: columns.label ?? "label",
    },
    ...(labels ? { labels } : {}),
    ...(task === "similarity" && !labels ? { scores } : {}),
  };
}

/** What a resumed run may change; all else must be as it began. */
const CHANGEABLE: readonly (keyof FinetuneConfig)[] = ["keep", "evalEvery", "saveEvery"];

/** Names of settings that differ and that a resumed run cannot change. */
export function fixedFinetuneDifferences(began: FinetuneConfig, wanted: FinetuneConfig): string[] {
  const names = Object.keys({ ...began, ...wanted }) as (keyof FinetuneConfig)[];
  return names.filter((name) =>
    !CHANGEABLE.includes(name) && JSON.stringify(began[name]) !== JSON.stringify(wanted[name])
  );
}

/**
 * Checks what no single field can say, as far as that needs no data.
 *
 * @throws {RangeError} Naming the values that do not fit each other.
 */
export function checkFinetuneConfig(config: FinetuneConfig): void {
  const fail = (want: string, state: unknown): never => {
    throw new RangeError(`Cannot use this configuration: want ${want}: got ${state}`);
  };
  const { batchRows, microRows = batchRows, scores: [low, high] } = config;
  if (batchRows % microRows !== 0) {
    fail(`batchRows a multiple of microRows (${microRows})`, batchRows);
  }
  if (high <= low) fail(`scores from a lower to a higher one`, JSON.stringify(config.scores));
  if (config.schedule !== "constant" && config.minLr > config.lr) {
    fail(`minLr up to lr (${config.lr})`, config.minLr);
  }
}

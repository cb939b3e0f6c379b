/**
 * What stages that train for epochs have in common in their configurations.
 *
 * @module
 */
import * as z from "zod";
import type { OptimiserSettings } from "./optimiser.ts";
import { learningRate } from "./schedule.ts";

const count = z.int().min(1);
const share = z.number().min(0).lt(1);
const name = z.string().min(1);

/** Settings of every stage that goes through its data in epochs. */
export interface EpochConfig extends OptimiserSettings {
  /** The file to train on. */
  data: string;
  /** A file to evaluate on; without it a share of the data is held out. */
  dev?: string | undefined;
  /** Share of the data held out where there is no dev file; 0 does without evaluation. */
  validation: number;
  /** Leave bad rows out. */
  skipBad: boolean;
  /** Train on so many examples, chosen by the seed; 0 is all. */
  limit: number;
  /** The most tokens of a row, the whole context unless less; what is longer is left out. */
  maxTokens?: number | undefined;
  /** Passes over the data. */
  epochs: number;
  /** Examples of an update. */
  batchRows: number;
  /** Examples of a micro-batch; an update adds up batchRows / microRows of them. */
  microRows?: number | undefined;
  /** Learning rate at its peak. */
  lr: number;
  /** Learning rate at the end; a tenth of the peak unless it is said. */
  minLr?: number | undefined;
  /** Share of the updates until the peak. */
  warmup: number;
  /** From the peak to the end. */
  schedule: "cosine" | "linear" | "constant";
  /** Share of activations left out in training. */
  dropout: number;
  /** Of new weights, the order of the data and dropout. */
  seed: number;
  /** Updates between evaluations; 0 is an epoch. The last update is always evaluated. */
  evalEvery: number;
  /** Updates between checkpoints; 0 is an epoch. The last update is always saved. */
  saveEvery: number;
  /** Checkpoints kept beside the best one. */
  keep: number;
}

/** What the publication says of a stage. */
export interface EpochDefaults {
  /** Passes over the data. */
  readonly epochs: number;
  /** Examples of an update. */
  readonly batchRows: number;
  /** Share of activations left out in training. */
  readonly dropout: number;
}

/**
 * Fields of a stage's schema, with its defaults: cosine to a tenth without a warm-up, and Adam with
 * a second moment of 0.95, as Ouyang et al. 2022, appendix C, have both stages.
 *
 * @ignore its type is zod's
 */
export function epochFields(defaults: EpochDefaults) {
  return {
    data: name,
    dev: name.optional(),
    validation: share.default(0.1),
    skipBad: z.boolean().default(false),
    limit: z.int().min(0).default(0),
    maxTokens: count.optional(),
    epochs: count.default(defaults.epochs),
    batchRows: count.default(defaults.batchRows),
    microRows: count.optional(),
    lr: z.number().positive().default(3e-5),
    minLr: z.number().min(0).optional(),
    warmup: share.default(0),
    schedule: z.enum(["cosine", "linear", "constant"]).default("cosine"),
    beta1: share.default(0.9),
    beta2: share.default(0.95),
    eps: z.number().positive().default(1e-8),
    weightDecay: z.number().min(0).default(0),
    clip: z.number().min(0).default(1),
    dropout: share.default(defaults.dropout),
    seed: z.int().min(0).default(1337),
    evalEvery: z.int().min(0).default(0),
    saveEvery: z.int().min(0).default(0),
    keep: count.default(2),
  };
}

/** What a resumed run may change; all else must be as it began. */
const CHANGEABLE: readonly string[] = ["keep", "evalEvery", "saveEvery"];

/** Names of settings that differ and that a resumed run cannot change. */
export function fixedEpochDifferences(began: EpochConfig, wanted: EpochConfig): string[] {
  const all: Record<string, unknown> = { ...began };
  const now: Record<string, unknown> = { ...wanted };
  return Object.keys({ ...all, ...now }).filter((name) =>
    !CHANGEABLE.includes(name) && JSON.stringify(all[name]) !== JSON.stringify(now[name])
  );
}

/**
 * Checks what no single field can say, as far as that needs no data.
 *
 * @throws {RangeError} Naming the values that do not fit each other.
 */
export function checkEpochConfig(config: EpochConfig): void {
  const fail = (want: string, state: unknown): never => {
    throw new RangeError(`Cannot use this configuration: want ${want}: got ${state}`);
  };
  const { batchRows, microRows = batchRows, lr, minLr = 0, schedule } = config;
  if (batchRows % microRows !== 0) {
    fail(`batchRows a multiple of microRows (${microRows})`, batchRows);
  }
  if (schedule !== "constant" && minLr > lr) fail(`minLr up to lr (${lr})`, minLr);
}

/** Learning rate of a step of a run of so many. */
export function epochLearningRate(config: EpochConfig, step: number, totalSteps: number): number {
  return learningRate(step, {
    lr: config.lr,
    minLr: config.minLr ?? 0.1 * config.lr,
    warmupSteps: Math.round(config.warmup * totalSteps),
    totalSteps,
    shape: config.schedule,
  });
}

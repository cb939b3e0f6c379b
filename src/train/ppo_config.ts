/**
 * Configuration of reinforcement learning from a reward, with the pre-training mix.
 *
 * @module
 */
import * as z from "zod";
import type { OptimiserSettings } from "./optimiser.ts";

const count = z.int().min(1);
const whole = z.int().min(0);
const share = z.number().min(0).lt(1);
const name = z.string().min(1);

/** A resolved configuration. */
export interface PpoConfig extends OptimiserSettings {
  /** The file of prompts. */
  data: string;
  /** A file of prompts to evaluate on; without it a share of the data is held out. */
  dev?: string | undefined;
  /** Share of the prompts held out where there is no dev file. */
  validation: number;
  /** Leave bad rows out. */
  skipBad: boolean;
  /** Use so many prompts, chosen by the seed; 0 is all. */
  limit: number;
  /** A prompt is a turn of a dialogue, or plain text to write on from. */
  template: "dialogue" | "plain";
  /** Who rewards: a run of a reward model (`name` or `name@step`), a TypeScript file, or a URL. */
  reward: string;
  /** How long a URL may take to answer. */
  rewardTimeoutMs: number;
  /** Files, folders and patterns of pre-training text; none is PPO without the mix. */
  ptx: string[];
  /** Field of its JSONL lines that holds the text. */
  field: string;
  /** What the gradient of pre-training is multiplied with. */
  ptxCoef: number;
  /** Rows of pre-training text for each episode. */
  ptxRatio: number;
  /** Tokens of such a row; the context unless less. */
  ptxTokens?: number | undefined;
  /** Rounds of rollout and updates. */
  iterations: number;
  /** Episodes of an iteration. */
  batchRows: number;
  /** Episodes of an update. */
  miniRows: number;
  /** Episodes of a micro-batch; an update adds up miniRows / microRows of them. */
  microRows?: number | undefined;
  /** Passes over the episodes of an iteration. */
  ppoEpochs: number;
  /** The most tokens of a response. */
  responseTokens: number;
  /** Taken off the score of a response that does not end by itself. */
  missingEndPenalty: number;
  /** Weight of the divergence from the reference, nats a token. */
  klCoef: number;
  /** Nats an episode that klCoef is adapted to; absent leaves it as it is. */
  klTarget?: number | undefined;
  /** Episodes over which klCoef adapts. */
  klHorizon: number;
  /** Of later rewards. */
  discount: number;
  /** Of the advantages' sum over temporal differences. */
  gaeLambda: number;
  /** How far a token's probability may move in an iteration, as a share. */
  clipRange: number;
  /** How far a value may move in an iteration. */
  valueClipRange: number;
  /** Divide the rewards of an iteration by their standard deviation; their mean stays. */
  whitenRewards: boolean;
  /** Bring the advantages of an iteration to mean 0 and variance 1. */
  whitenAdvantages: boolean;
  /** Learning rate of the policy after the warm-up. */
  lr: number;
  /** Learning rate of the value model; that of the policy unless it is said. */
  valueLr?: number | undefined;
  /** Iterations over which the rate rises from a tenth. */
  warmupIterations: number;
  /** How much of the averaged weights stays at an update; 0 serves the newest. */
  emaRate: number;
  /** Of the rollouts, the order of prompts and new weights. */
  seed: number;
  /** Iterations between evaluations; the last one is always evaluated. 0 does without. */
  evalEvery: number;
  /** Held-out prompts of an evaluation. */
  evalRows: number;
  /** Of those, so many in the tables of samples. */
  sampleRows: number;
  /** Iterations between checkpoints; the last one is always saved. */
  saveEvery: number;
  /** Checkpoints kept beside the best one. */
  keep: number;
}

/**
 * By default as Ouyang et al. 2022, appendix C.4: 512 episodes an iteration, 64 an update, one
 * pass, 256,000 episodes; klCoef 0.02, ptxCoef 27.8 with 8 rows an episode, clipping at 0.2, no
 * discount, averaged weights of 0.992 (here at every update). gaeLambda, the clipping of values and
 * the whitening are those of Ziegler et al. 2019. The learning rate is for small models.
 *
 * @ignore its type is zod's
 */
export const ppoSchema: z.ZodType<PpoConfig> = z.strictObject({
  data: name,
  dev: name.optional(),
  validation: share.default(0.05),
  skipBad: z.boolean().default(false),
  limit: whole.default(0),
  template: z.enum(["dialogue", "plain"]).default("dialogue"),
  reward: name,
  rewardTimeoutMs: count.default(30_000),
  ptx: z.array(name).default([]),
  field: z.string().default("text"),
  ptxCoef: z.number().min(0).default(27.8),
  ptxRatio: count.default(8),
  ptxTokens: count.optional(),
  iterations: count.default(500),
  batchRows: count.default(512),
  miniRows: count.default(64),
  microRows: count.optional(),
  ppoEpochs: count.default(1),
  responseTokens: count.default(128),
  missingEndPenalty: z.number().min(0).default(1),
  klCoef: z.number().min(0).default(0.02),
  klTarget: z.number().positive().optional(),
  klHorizon: count.default(10_000),
  discount: z.number().min(0).max(1).default(1),
  gaeLambda: z.number().min(0).max(1).default(0.95),
  clipRange: z.number().positive().default(0.2),
  valueClipRange: z.number().positive().default(0.2),
  whitenRewards: z.boolean().default(true),
  whitenAdvantages: z.boolean().default(true),
  lr: z.number().positive().default(1e-5),
  valueLr: z.number().positive().optional(),
  warmupIterations: whole.default(10),
  emaRate: share.default(0.992),
  beta1: share.default(0.9),
  beta2: share.default(0.95),
  eps: z.number().positive().default(1e-8),
  weightDecay: z.number().min(0).default(0),
  clip: z.number().min(0).default(1),
  seed: whole.default(1337),
  evalEvery: whole.default(10),
  evalRows: count.default(64),
  sampleRows: whole.default(8),
  saveEvery: count.default(10),
  keep: count.default(2),
});

/** What a resumed run may change; all else must be as it began. */
const CHANGEABLE: readonly string[] = ["keep", "evalEvery", "saveEvery", "rewardTimeoutMs"];

/** Names of settings that differ and that a resumed run cannot change. */
export function fixedPpoDifferences(began: PpoConfig, wanted: PpoConfig): string[] {
  const all: Record<string, unknown> = { ...began };
  const now: Record<string, unknown> = { ...wanted };
  return Object.keys({ ...all, ...now }).filter((name) => {
    if (CHANGEABLE.includes(name)) return false;
    // A run may become longer: what it did so far stays as it is.
    if (name === "iterations") return wanted.iterations < began.iterations;
    return JSON.stringify(all[name]) !== JSON.stringify(now[name]);
  });
}

/**
 * Checks what no single field can say, as far as that needs no data.
 *
 * @throws {RangeError} Naming the values that do not fit each other.
 */
export function checkPpoConfig(config: PpoConfig): void {
  const fail = (want: string, state: unknown): never => {
    throw new RangeError(`Cannot use this configuration: want ${want}: got ${state}`);
  };
  const { batchRows, miniRows, microRows = miniRows } = config;
  if (batchRows % miniRows !== 0) fail(`batchRows a multiple of miniRows (${miniRows})`, batchRows);
  if (miniRows % microRows !== 0) fail(`miniRows a multiple of microRows (${microRows})`, miniRows);
  if (config.sampleRows > config.evalRows) {
    fail(`sampleRows up to evalRows (${config.evalRows})`, config.sampleRows);
  }
}

/** Where a reward comes from. */
export type RewardKind = "run" | "function" | "http";

/** What a `reward` names. */
export function rewardKind(reward: string): RewardKind {
  if (/^https?:\/\//.test(reward)) return "http";
  return /\.[mc]?[jt]s$/.test(reward) ? "function" : "run";
}

/**
 * Learning rate of an iteration, counted from 0: from a tenth of the peak up, then constant.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const rates = [0, 5, 10, 400].map((iteration) => ppoLearningRate(1, 10, iteration));
 * assertEquals(rates, [0.1, 0.55, 1, 1]);
 * ```
 */
export function ppoLearningRate(peak: number, warmupIterations: number, iteration: number): number {
  if (iteration >= warmupIterations) return peak;
  return peak * (0.1 + 0.9 * iteration / warmupIterations);
}

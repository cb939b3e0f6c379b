/**
 * What all stages of a road found so far, as the report card reads it.
 *
 * @module
 */
import type { RoadConfig } from "./config.ts";
import type { Road } from "./context.ts";
import type { ComparisonsFound, NgramFound } from "./data_stages.ts";
import { ACADEMIC, count, type EvaluationFound, type Flags } from "./evaluate.ts";
import { bootstrapMean, type Interval, wilson } from "../../run/statistics.ts";
import type { ExpertFound, PredictionFound, PretrainFound, RewardFound } from "./train_stages.ts";

/** The models that are evaluated, in the order of the columns. */
export const MODELS = ["base", "sft", "ppo", "ppo-ptx"] as const;

/** A model that is evaluated. */
export type ModelName = typeof MODELS[number];

/** Everything that was found; what is missing was not done. */
export interface CardData {
  /** Of the road. */
  readonly name: string;
  /** Of the road. */
  readonly config: RoadConfig;
  /** What it ran on. */
  readonly adapter: string;
  /** Smaller models, from the smallest. */
  readonly smaller: readonly PretrainFound[];
  /** Before the largest was trained. */
  readonly prediction?: PredictionFound | undefined;
  /** The largest. */
  readonly base?: PretrainFound | undefined;
  /** The 5-gram model. */
  readonly ngram?: NgramFound | undefined;
  /** By task: from the base model, and from random weights. */
  readonly experts: ReadonlyMap<string, ExpertFound>;
  /** The same from random weights. */
  readonly controls: ReadonlyMap<string, ExpertFound>;
  /** Labelers of this run's samples. */
  readonly comparisons?: ComparisonsFound | undefined;
  /** The reward model on held-out pairs. */
  readonly reward?: RewardFound | undefined;
  /** By model. */
  readonly models: ReadonlyMap<ModelName, EvaluationFound>;
  /** Stages that failed, and why. */
  readonly failures: ReadonlyMap<string, { line: string }>;
}

/** Reads what is there. */
export async function collect(
  road: Road,
  failures: ReadonlyMap<string, { line: string }>,
): Promise<CardData> {
  const { config, manifest } = road;
  const of = async <T>(stage: string): Promise<T | undefined> =>
    manifest.done(stage) ? await manifest.found(stage) as T : undefined;
  const smaller: PretrainFound[] = [];
  for (let i = 1; i <= config.scaling.length; i++) {
    const found = await of<PretrainFound>(`scale-${i}`);
    if (found) smaller.push(found);
  }
  const experts = new Map<string, ExpertFound>();
  const controls = new Map<string, ExpertFound>();
  for (const family of ACADEMIC) {
    const [expert, control] = [
      await of<ExpertFound>(family),
      await of<ExpertFound>(`${family}-control`),
    ];
    if (expert) experts.set(family, expert);
    if (control) controls.set(family, control);
  }
  const models = new Map<ModelName, EvaluationFound>();
  for (const name of MODELS) {
    const found = await of<EvaluationFound>(`eval-${name}`);
    if (found) models.set(name, found);
  }
  return {
    name: road.name,
    config,
    adapter: road.host.device.info.description,
    smaller,
    prediction: await of("prediction"),
    base: await of("base"),
    ngram: await of("ngram"),
    experts,
    controls,
    comparisons: await of("comparisons"),
    reward: await of("reward"),
    models,
    failures,
  };
}

/** Share of the items that were right, with Wilson's interval. */
export function accuracy(flags: Flags): Interval {
  return wilson(count(flags), flags.length);
}

/** Mean of a grade over the sampled responses to the test instructions, bootstrapped. */
export function gradeMean(found: EvaluationFound, name: string): Interval {
  return bootstrapMean(found.instructions.grades[name]!);
}

/** Mean accuracy over all families but instructions, each as much as another. */
export function academicMean({ families }: EvaluationFound): number {
  const shares = ACADEMIC.map((family) => accuracy(families[family]!).value);
  return shares.reduce((sum, share) => sum + share, 0) / shares.length;
}

/** How often one model's responses are better than another's. */
export interface WinRate {
  /** Of all items; ties count half. */
  readonly all: Interval;
  /** Of those whose two responses are about as long. */
  readonly matched?: Interval | undefined;
  /** How many those are. */
  readonly matchedCount: number;
  /** Ties among all. */
  readonly ties: number;
}

/** Responses are as long as each other up to so many tokens. */
export const MATCHED_TOKENS = 2;

/** Compares the sampled responses of two models to the same instructions by their gold scores. */
export function winRate(one: EvaluationFound, other: EvaluationFound): WinRate {
  const [a, b] = [one.instructions, other.instructions];
  const outcomes = a.grades.gold!.map((gold, i) => {
    const against = b.grades.gold![i]!;
    return gold > against ? 1 : gold < against ? 0 : 0.5;
  });
  const matched = outcomes.filter((_, i) =>
    Math.abs(a.tokens[i]! - b.tokens[i]!) <= MATCHED_TOKENS
  );
  return {
    all: bootstrapMean(outcomes),
    matched: matched.length > 0 ? bootstrapMean(matched) : undefined,
    matchedCount: matched.length,
    ties: outcomes.filter((outcome) => outcome === 0.5).length,
  };
}

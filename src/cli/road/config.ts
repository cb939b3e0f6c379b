/**
 * Settings of the whole road: what is made of the built-in data, how large each stage is, and how
 * much is evaluated.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import * as z from "zod";
import { loadConfig } from "../../config/config.ts";
import type { TaskKind } from "../../data/task_kind.ts";
import type { Json } from "../../run/run_folder.ts";
import { MOST_SLOTS } from "../../infer/engine.ts";
import { checkEpochConfig } from "../../train/epoch_config.ts";
import { checkFinetuneConfig, finetuneSchema } from "../../train/finetune_config.ts";
import { checkPpoConfig, ppoSchema } from "../../train/ppo_config.ts";
import { checkPretrainConfig, pretrainSchema } from "../../train/pretrain_config.ts";
import { rewardSchema } from "../../train/reward_config.ts";
import { checkPretrainShare, sftSchema } from "../../train/sft_config.ts";
import { DEMO, FULL } from "./presets.ts";

/** The four tasks of GPT-1's fine-tuning. */
export const TASKS = [
  "classification",
  "entailment",
  "similarity",
  "choice",
] as const satisfies readonly TaskKind[];

/** Settings of a stage's own command, which checks them. */
export type StageSettings = Readonly<Record<string, Json>>;

/** A smaller model, whose loss foretells that of the largest. */
export interface SmallerSize {
  /** Blocks. */
  layers: number;
  /** C. */
  channels: number;
  /** NH. */
  heads: number;
  /** Updates; what else there is to set is that of the largest. */
  steps: number;
}

/** A resolved configuration. */
export interface RoadConfig {
  /** Which preset it began with. */
  preset: "demo" | "full";
  /** Of the built-in data and of every stage. */
  seed: number;
  /** A user's own files in place of built-in data. */
  data: {
    /** Text to pre-train on. */
    pretrain: string[];
    /** Dialogues. */
    sft?: string | undefined;
    /** Ranked responses, in place of this run's own samples. */
    comparisons?: string | undefined;
    /** Prompts for PPO. */
    prompts?: string | undefined;
    /** Tables of the four tasks, with the columns of the built-in ones. */
    tasks: Partial<Record<TaskKind, string | undefined>>;
  };
  /** How much is made of the built-in data. */
  world: {
    /** Documents to pre-train on, and to evaluate on. */
    documents: number;
    validDocuments: number;
    /** Rows of each task, to train on, to evaluate on while training, and to test. */
    taskRows: number;
    taskValidRows: number;
    taskTestRows: number;
    /** Demonstrations, and those to evaluate on. */
    sftRows: number;
    sftValidRows: number;
    /** Prompts whose responses are compared, and those of the held-out pairs. */
    comparedPrompts: number;
    comparedValidPrompts: number;
    /** Prompts of PPO. */
    ppoPrompts: number;
  };
  /** Responses to a prompt that a labeler ranks. */
  responses: number;
  /** The most tokens of a response. */
  responseTokens: number;
  /** Of the byte-level BPE. */
  vocabSize: number;
  /** From the smallest up; four or more make a prediction. */
  scaling: SmallerSize[];
  /** Of `train pretrain`. */
  pretrain: StageSettings;
  /** Of `train finetune`, for all four tasks. */
  experts: StageSettings;
  /** Over those, for one task. */
  expertsOf: Partial<Record<TaskKind, StageSettings | undefined>>;
  /** Also fine-tune from random weights, to compare. */
  expertControls: boolean;
  /** Of `train sft`. */
  sft: StageSettings;
  /** Of `train reward`. */
  reward: StageSettings;
  /** Of `train ppo`. */
  ppo: StageSettings;
  /** Of `train ppo`, over those, for PPO-ptx. */
  ppoPtx: StageSettings;
  /** How much is evaluated. */
  evaluation: {
    /** Test items of each family. */
    items: number;
    /** Test instructions. */
    instructions: number;
    /** In-context tasks, for each count of shots. */
    rules: number;
    /** Counts of shots. */
    shots: number[];
    /** Problems, directly, with steps, and by votes. */
    problems: number;
    /** Paths of a vote. */
    paths: number;
    /** Texts at a time. */
    rows: number;
  };
}

const count = z.int().min(1);
const whole = z.int().min(0);
const file = z.string().min(1).optional();
const settings = z.record(z.string(), z.json());

/**
 * What checks and completes a {@linkcode RoadConfig}.
 *
 * @ignore its type is zod's
 */
export const roadSchema: z.ZodType<RoadConfig> = z.strictObject({
  preset: z.enum(["demo", "full"]),
  seed: whole,
  data: z.strictObject({
    pretrain: z.array(z.string().min(1)),
    sft: file,
    comparisons: file,
    prompts: file,
    tasks: z.strictObject({
      classification: file,
      entailment: file,
      similarity: file,
      choice: file,
    }),
  }),
  world: z.strictObject({
    documents: count,
    validDocuments: count,
    taskRows: count,
    taskValidRows: count,
    taskTestRows: count,
    sftRows: count,
    sftValidRows: count,
    comparedPrompts: count,
    comparedValidPrompts: count,
    ppoPrompts: count,
  }),
  responses: z.int().min(2).max(9),
  responseTokens: count,
  vocabSize: z.int().min(264),
  scaling: z.array(
    z.strictObject({ layers: count, channels: count, heads: count, steps: count }),
  ),
  pretrain: settings,
  experts: settings,
  expertsOf: z.strictObject({
    classification: settings.optional(),
    entailment: settings.optional(),
    similarity: settings.optional(),
    choice: settings.optional(),
  }).default({}), // roads that began without it are told what differs
  expertControls: z.boolean(),
  sft: settings,
  reward: settings,
  ppo: settings,
  ppoPtx: settings,
  evaluation: z.strictObject({
    items: count,
    instructions: count,
    rules: count,
    shots: z.array(whole).min(1),
    problems: count,
    paths: z.int().min(2),
    rows: z.int().min(1).max(MOST_SLOTS),
  }),
});

/** A user's own files, as flags give them. */
export interface OwnData {
  /** Text to pre-train on. */
  pretrainData?: string[];
  /** Dialogues. */
  sftData?: string;
  /** Ranked responses. */
  comparisons?: string;
  /** Prompts for PPO. */
  prompts?: string;
  /** Tables of the four tasks, as `task=file`. */
  taskData?: string[];
}

/**
 * The configuration that a preset, a file and flags make.
 *
 * @throws {CannotError} As {@linkcode loadConfig}.
 */
export async function roadConfig(
  preset: "demo" | "full",
  { file, set = [] }: { file?: string | undefined; set?: readonly string[] | undefined },
  own: OwnData = {},
): Promise<RoadConfig> {
  const base = { ...(preset === "demo" ? DEMO : FULL), preset };
  const tasks = (own.taskData ?? []).map((text): [string, Json] => {
    const [task, ...path] = text.split("=");
    return [`data.tasks.${task}`, resolve(path.join("="))];
  });
  const files: [string, Json | undefined][] = [
    ["data.pretrain", own.pretrainData?.map((path) => resolve(path))],
    ["data.sft", own.sftData && resolve(own.sftData)],
    ["data.comparisons", own.comparisons && resolve(own.comparisons)],
    ["data.prompts", own.prompts && resolve(own.prompts)],
    ...tasks,
  ];
  const flags = files.flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${JSON.stringify(value)}`]
  );
  return await loadConfig(roadSchema, { base, file, set: [...set, ...flags] });
}

/**
 * Checks the settings of every stage as its own command would, before anything is done.
 *
 * @throws {CannotError} As {@linkcode loadConfig}; RangeError where values do not fit each other.
 */
export async function checkStages(config: RoadConfig): Promise<void> {
  const file = { data: "data" };
  checkPretrainConfig(await loadConfig(pretrainSchema, { base: config.pretrain }));
  for (const task of TASKS) {
    const base = { ...config.experts, ...config.expertsOf[task], ...file, task };
    checkFinetuneConfig(await loadConfig(finetuneSchema, { base }));
  }
  const isMixed = Number(config.sft.pretrainShare ?? 0) > 0;
  const text = isMixed ? { pretrainData: ["data"] } : {};
  const sft = await loadConfig(sftSchema, { base: { ...config.sft, ...file, ...text } });
  checkEpochConfig(sft);
  checkPretrainShare(sft);
  checkEpochConfig(await loadConfig(rewardSchema, { base: { ...config.reward, ...file } }));
  const ppo = { ...config.ppo, ...file, reward: "reward" };
  checkPpoConfig(await loadConfig(ppoSchema, { base: ppo }));
  checkPpoConfig(await loadConfig(ppoSchema, { base: { ...ppo, ...config.ppoPtx } }));
}

/** Hash of a configuration: a road goes on only with the one that it began with. */
export function configHash(config: RoadConfig): string {
  const flags = asFlags(JSON.parse(JSON.stringify(config))).sort();
  return createHash("sha256").update(flags.join("\n")).digest("hex");
}

/**
 * Settings as `--set` takes them, nested names joined by dots.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * assertEquals(asFlags({ lr: 0.1, model: { layers: 2 } }), ["lr=0.1", "model.layers=2"]);
 * ```
 */
export function asFlags(settings: StageSettings, prefix = ""): string[] {
  return Object.entries(settings).flatMap(([name, value]) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? asFlags(value, `${prefix}${name}.`)
      : [`${prefix}${name}=${JSON.stringify(value)}`]
  );
}

/** Names of settings that differ, with dots. */
export function differences(began: RoadConfig, now: RoadConfig): string[] {
  const [a, b] = [began, now].map((config) =>
    new Map(
      asFlags(JSON.parse(JSON.stringify(config))).map((flag) => {
        const equals = flag.indexOf("=");
        return [flag.slice(0, equals), flag.slice(equals)] as const;
      }),
    )
  ) as [Map<string, string>, Map<string, string>];
  return [...new Set([...a.keys(), ...b.keys()])].filter((name) => a.get(name) !== b.get(name));
}

/**
 * Stages that train: each is the command of its name, on the road's data.
 *
 * @module
 */
import { loadConfig } from "../../config/config.ts";
import { readExamples } from "../../data/tasks.ts";
import { headFromJson } from "../../data/task_head.ts";
import type { TaskKind } from "../../data/task_kind.ts";
import type { ModelConfig } from "../../model/config.ts";
import { forwardFlops } from "../../model/decoder.ts";
import { configFromJson } from "../../model/config_json.ts";
import { parameterCount } from "../../model/parameters.ts";
import { fitPowerLaw, type PowerLaw, predictLoss } from "../../run/power_law.ts";
import { type Json, Run } from "../../run/run_folder.ts";
import { loadTokenizer } from "../../tokenizer/file.ts";
import { encodeExamples } from "../../train/finetune_data.ts";
import { pretrainSchema, resolveModel } from "../../train/pretrain_config.ts";
import { type FinetuneCommand, trainFinetune } from "../finetune.ts";
import { type PpoCommand, trainPpo } from "../ppo.ts";
import { scoreExamples } from "../predict.ts";
import { trainReward } from "../reward.ts";
import { trainSft } from "../sft.ts";
import type { StageCommand } from "../stage.ts";
import { type PretrainCommand, trainPretrain } from "../train.ts";
import { asFlags, type SmallerSize } from "./config.ts";
import type { Road, StageOutcome } from "./context.ts";
import { FILES, pretrainText, taskFile, taskSettings, type TokenizerFound } from "./data_stages.ts";

/** What pre-training found. */
export type PretrainFound = {
  layers: number;
  channels: number;
  parameters: number;
  steps: number;
  tokens: number;
  /** Floating-point operations of all steps. */
  compute: number;
  loss: number;
};

/** Pre-trains the largest model, or a smaller one. */
export async function pretrainSize(
  road: Road,
  stage: string,
  size?: SmallerSize,
): Promise<StageOutcome> {
  const { config } = road;
  const { path } = await road.found<TokenizerFound>("tokenizer");
  const { data, validation } = await pretrainText(road);
  const largest = await loadConfig(pretrainSchema, { set: asFlags(config.pretrain) });
  const smaller = size && {
    steps: size.steps,
    // The same share of the updates: a long warm-up would make small sizes look worse than they
    // are.
    warmupSteps: Math.round(largest.warmupSteps * size.steps / largest.steps),
    saveEvery: size.steps,
    evalEvery: size.steps,
    sampleTokens: 0,
    model: { layers: size.layers, channels: size.channels, heads: size.heads },
  };
  const set = [
    ...asFlags({ ...config.pretrain, seed: config.seed, validation, tokenizer: path }),
    ...asFlags(smaller ?? {}),
  ];
  const made = await road.train<PretrainCommand>(stage, trainPretrain, { data, set });
  const run = await Run.open(road.root, made.run);
  const model = configFromJson(await (await run.checkpoint()).json("config.json"));
  const { steps, batchRows, sequenceLength } = run.info.config as Record<string, number>;
  const T = sequenceLength ?? model.contextLength;
  const tokens = steps! * batchRows! * T;
  const found: PretrainFound = {
    layers: model.layers,
    channels: model.channels,
    parameters: parameterCount(model),
    steps: steps!,
    tokens,
    // A backward costs twice its forward.
    compute: 3 * forwardFlops(model, 1, T) / T * tokens,
    loss: (await road.lastMetric(made.run, "val/loss"))!,
  };
  return { ...made, found };
}

/** What {@linkcode predictScaling} found, before the largest model was trained. */
export type PredictionFound = { law: PowerLaw; compute: number; loss: number };

/** Fits the power law to the smaller models, and says what the largest will reach. */
export async function predictScaling(road: Road): Promise<StageOutcome> {
  const { scaling, pretrain } = road.config;
  const smaller: PretrainFound[] = [];
  for (let i = 0; i < scaling.length; i++) {
    smaller.push(await road.found<PretrainFound>(`scale-${i + 1}`));
  }
  const { vocabSize } = await road.found<TokenizerFound>("tokenizer");
  const model = await largestModel(road, vocabSize);
  const { steps = 500, batchRows = 12, sequenceLength } = pretrain as Record<string, number>;
  const T = sequenceLength ?? model.contextLength;
  const compute = 3 * forwardFlops(model, 1, T) * steps * batchRows;
  const law = fitPowerLaw(smaller);
  const found = { law: { ...law }, compute, loss: predictLoss(law, compute) };
  road.say(
    `from ${smaller.length} smaller models: the largest will reach a validation loss of ` +
      found.loss.toFixed(4),
  );
  return { found: found satisfies PredictionFound };
}

async function largestModel(road: Road, vocabSize: number): Promise<ModelConfig> {
  const config = await loadConfig(pretrainSchema, { set: asFlags(road.config.pretrain) });
  return resolveModel(config, vocabSize);
}

/** What an expert found on the test rows: 1 for right, by row. */
export type ExpertFound = { task: TaskKind; right: string; validAccuracy: number | null };

/** Fine-tunes the base model on a task, or a random one of its shape, and tests it. */
export async function fineTune(
  road: Road,
  stage: string,
  task: TaskKind,
  init: "pretrained" | "random",
): Promise<StageOutcome> {
  const { config } = road;
  const own = config.data.tasks[task];
  const settings = { ...config.experts, ...config.expertsOf[task], ...taskSettings(task) };
  const set = asFlags({ seed: config.seed, ...settings, init });
  const made = await road.train<FinetuneCommand>(stage, trainFinetune, {
    data: own ?? road.dataFile(taskFile(task, "train")),
    ...(own === undefined ? { dev: road.dataFile(taskFile(task, "valid")) } : {}),
    from: road.runOf("base"),
    set,
  });
  const checkpoint = await (await Run.open(road.root, made.run)).checkpoint();
  const head = headFromJson(await checkpoint.json("head.json"));
  const tokenizer = loadTokenizer(await checkpoint.text("tokenizer.json"));
  const test = await readExamples(road.dataFile(taskFile(task, "test")), head, {
    header: head.header,
    classes: head,
  });
  const options = { tokenizer, maxTokens: head.maxTokens };
  const { examples } = encodeExamples(test.examples, head, options);
  const { predicted } = await scoreExamples(road.host.device, checkpoint, head, examples, 32);
  const right = examples.map(({ label }, i) => label === predicted[i] ? "1" : "0").join("");
  const count = right.replaceAll("0", "").length;
  road.say(`right on ${count} of ${examples.length} test rows of ${task}`);
  const validAccuracy = (await road.lastMetric(made.run, "val/accuracy")) ?? null;
  return { ...made, found: { task, right, validAccuracy } satisfies ExpertFound };
}

/** Supervised fine-tuning on dialogues. */
export async function superviseFineTuning(road: Road): Promise<StageOutcome> {
  const { config } = road;
  const own = config.data.sft;
  const isMixed = Number(config.sft.pretrainShare ?? 0) > 0;
  const mix = isMixed ? { pretrainData: (await pretrainText(road)).data } : {};
  const made = await road.train<StageCommand>("sft", trainSft, {
    data: own ?? road.dataFile(FILES.sft),
    ...(own === undefined ? { dev: road.dataFile(FILES.sftValid) } : {}),
    from: road.runOf("base"),
    set: asFlags({ seed: config.seed, ...config.sft, ...mix }),
  });
  return { ...made, found: { loss: (await road.lastMetric(made.run, "val/loss")) ?? null } };
}

/** What the reward model found on held-out pairs. */
export type RewardFound = { accuracy: number | null; pairs: number; loss: number | null };

/** The reward model. */
export async function rewardModel(road: Road): Promise<StageOutcome> {
  const { config } = road;
  const own = config.data.comparisons;
  const made = await road.train<StageCommand>("reward", trainReward, {
    data: own ?? road.dataFile(FILES.comparisons),
    ...(own === undefined ? { dev: road.dataFile(FILES.comparisonsValid) } : {}),
    from: road.runOf("sft"),
    set: asFlags({ seed: config.seed, ...config.reward }),
  });
  const { validPairs } = await road.found<{ validPairs: number }>("comparisons");
  const found: RewardFound = {
    accuracy: (await road.lastMetric(made.run, "val/accuracy")) ?? null,
    pairs: validPairs,
    loss: (await road.lastMetric(made.run, "val/loss")) ?? null,
  };
  return { ...made, found };
}

/** PPO, with the pre-training mix or without. */
export async function reinforce(
  road: Road,
  stage: "ppo" | "ppo-ptx",
): Promise<StageOutcome> {
  const { config } = road;
  const isMixed = stage === "ppo-ptx";
  const settings: Record<string, Json> = {
    seed: config.seed,
    responseTokens: config.responseTokens,
    ...config.ppo,
    ...(isMixed ? config.ppoPtx : {}),
  };
  const made = await road.train<PpoCommand>(stage, trainPpo, {
    data: config.data.prompts ?? road.dataFile(FILES.prompts),
    reward: road.runOf("reward"),
    from: road.runOf("sft"),
    ...(isMixed ? { ptx: (await pretrainText(road)).data } : {}),
    set: asFlags(settings),
  });
  const of = async (name: string) => (await road.lastMetric(made.run, name)) ?? null;
  const found = { scores: await of("eval/scores"), kl: await of("eval/kl") };
  return { ...made, found };
}

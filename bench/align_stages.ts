/**
 * The stages before PPO in the world of letters, and PPO from where they end.
 *
 * @module
 */
import { prepareData, type PreparedData } from "../src/data/prepare.ts";
import type { Device } from "../src/gpu/device.ts";
import { Engine } from "../src/infer/engine.ts";
import type { ModelConfig } from "../src/model/config.ts";
import { Weights } from "../src/model/parameters.ts";
import { DIALOGUE_TOKENS, encodeDialogue } from "../src/prompt/dialogue.ts";
import type { Checkpoint } from "../src/run/checkpoint.ts";
import { RunWriter } from "../src/run/run_folder.ts";
import { CharacterTokenizer } from "../src/tokenizer/characters.ts";
import type { Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { loadWeights } from "../src/train/checkpoint.ts";
import type { EpisodeRow } from "../src/train/ppo_batches.ts";
import { ppoSchema } from "../src/train/ppo_config.ts";
import { encodePrompt, type Prompt } from "../src/train/ppo_data.ts";
import type { RewardSource } from "../src/train/ppo_reward.ts";
import { ModelReward, openRewardModel, type RewardModel } from "../src/train/ppo_reward_model.ts";
import { answerOf, type Episode, rollOut } from "../src/train/ppo_rollout.ts";
import { Ppo } from "../src/train/ppo_training.ts";
import { pretrainVariants } from "../src/train/pretrain_run.ts";
import { RewardTraining } from "../src/train/reward.ts";
import { rewardSchema } from "../src/train/reward_config.ts";
import { loadRewardData } from "../src/train/reward_data.ts";
import { Sft } from "../src/train/sft.ts";
import { responseBatch } from "../src/train/sft_batches.ts";
import { sftSchema } from "../src/train/sft_config.ts";
import { dialogueTokenizerFiles } from "../src/train/sft_data.ts";
import { SftStep } from "../src/train/sft_step.ts";
import { TokenScorer } from "../src/train/token_scorer.ts";
import { ALPHABET, ceilingOf, gold, LetterWorld } from "./align_world.ts";
import { saveParentRun } from "./parent_run.ts";

const SIZES = { layers: 2, heads: 2, channels: 64, contextLength: 32 };
const RESPONSE_TOKENS = 14;
const PRETRAIN = { steps: 1000, rows: 32, lr: 2e-3 };
const SFT_PROMPTS = 1000;
/** With four responses each. */
const RANKED_PROMPTS = 2000;
const RANKED = 4;
/** Rankings of which a judge learns who is easily deceived. */
const FEW = 150;
const HELD_OUT = 512;
/** Episodes over which klCoef adapts: three iterations. */
const KL_HORIZON = 200;

/** A reward model, and what it is worth. */
export interface Judge {
  readonly model: RewardModel;
  readonly reward: RewardSource;
  /** On held-out pairs. */
  readonly accuracy: number;
  /** What who knows the gold scores would have there. */
  readonly ceiling: number;
  readonly pairs: number;
}

/** All that PPO starts from, and is measured with. */
export interface AlignParts {
  readonly device: Device;
  readonly root: string;
  readonly seed: number;
  readonly tokenizer: Tokenizer;
  readonly endId: number;
  readonly model: ModelConfig;
  readonly parent: Checkpoint;
  /** Learnt from all rankings. */
  readonly judge: Judge;
  /** Learnt from a few of them. */
  readonly hastyJudge: Judge;
  readonly prompts: readonly Prompt[];
  readonly heldOut: readonly Prompt[];
  readonly text: PreparedData;
  /** Held-out text. */
  readonly textRows: readonly EpisodeRow[];
  /** Facts after other text; the answer is the response. */
  readonly factRows: readonly EpisodeRow[];
  answerOf(episode: Episode): ReturnType<typeof answerOf>;
  close(): void;
}

/** Pre-trains, fine-tunes, and trains a reward model. */
export async function openAlign(
  device: Device,
  root: string,
  { seed, quick }: { seed: number; quick: boolean },
): Promise<AlignParts> {
  const world = new LetterWorld(seed);
  const tokenizer = CharacterTokenizer.fromText([ALPHABET]).withSpecialTokens(DIALOGUE_TOKENS);
  const endId = tokenizer.specialTokens.get("<|end|>")!;
  const model: ModelConfig = {
    ...SIZES,
    vocabSize: tokenizer.vocabSize,
    norm: "pre",
    activation: "gelu",
    bias: true,
    band: 0,
    layerNormEps: 1e-5,
  };
  const steps = quick ? 20 : PRETRAIN.steps;
  await Deno.writeTextFile(`${root}/text.txt`, world.text(20_000));
  const text = await prepareData({
    inputs: [`${root}/text.txt`],
    cacheFolder: `${root}/.data`,
    encoder: {
      encode: (part) => tokenizer.encode(part, { allowSpecial: false }),
      vocabSize: tokenizer.vocabSize,
      sha256: tokenizer.sha256,
    },
    split: { by: "end", fraction: 0.1 },
    field: "text",
  });
  const pretrained = await pretrain(device, root, { text, tokenizer, model, seed, steps });
  const count = quick ? 64 : SFT_PROMPTS;
  const words = world.prompts(count + RANKED_PROMPTS + HELD_OUT);
  const parent = await fineTune(device, root, {
    ...{ world, text, tokenizer, model, parent: pretrained, seed },
    prompts: words.slice(0, count),
  });
  const encode = (content: string) =>
    encodePrompt(tokenizer, { messages: [{ role: "user", content }] }, "dialogue");
  const all = words.slice(count).map(encode);
  const [prompts, heldOut] = [all.slice(0, RANKED_PROMPTS), all.slice(RANKED_PROMPTS)];
  const base = { device, root, seed, tokenizer, endId, model, parent };
  const rankings = await rank(base, world, quick ? prompts.slice(0, 40) : prompts);
  const judge = await learnToJudge(base, "rm", rankings);
  const hastyJudge = await learnToJudge(base, "rm-hasty", rankings.slice(0, FEW));
  const T = model.contextLength;
  const textRows = Array.from({ length: quick ? 8 : 128 }, (_, i) => {
    const ids = new Uint32Array(T);
    text.val.read(i * T, ids);
    return { ids, promptLength: 1 };
  });
  const factRows = world.questions(quick ? 1 : 8).map(({ before, answer }) => {
    const ids = tokenizer.encode(before).slice(-(T - 1));
    const promptLength = ids.length;
    return { ids: Uint32Array.from([...ids, ...tokenizer.encode(answer)]), promptLength };
  });
  const close = () => {
    judge.reward.destroy();
    hastyJudge.reward.destroy();
    text.close();
  };
  const judges = { judge, hastyJudge };
  return { ...base, ...judges, prompts, heldOut, text, textRows, factRows, answerOf, close };
}

/** What holds a policy near its reference. */
export interface Penalty {
  readonly klCoef: number;
  /** Nats a response, to which klCoef is adapted. */
  readonly klTarget?: number;
}

/** A policy to train. */
export interface PpoCase {
  readonly judge: Judge;
  /** Whether pre-training is mixed in. */
  readonly ptx: boolean;
  readonly iterations: number;
  readonly penalty: Penalty;
}

/** PPO from where SFT ended. */
export async function startPpo(
  parts: AlignParts,
  { judge, ptx, iterations, penalty }: PpoCase,
): Promise<Ppo> {
  const { device, model, tokenizer, parent, endId, prompts, text } = parts;
  const config = ppoSchema.parse({
    ...{ data: "prompts", reward: "rm", iterations, evalEvery: 0, emaRate: 0, seed: parts.seed },
    ...{ batchRows: 64, miniRows: 32, ppoEpochs: 2, responseTokens: RESPONSE_TOKENS },
    ...{ lr: 4e-4, warmupIterations: 3, ptxRatio: 1 },
    ...{ ...penalty, klHorizon: KL_HORIZON },
    // 27.8 was chosen for GPT-3's gradients; in a model so small it leaves nothing of PPO's.
    ptxCoef: 1,
  });
  const { head, model: valueModel, checkpoint } = judge.model;
  return await Ppo.open({
    ...{ device, config, model, tokenizer, tokenizerFiles: {}, parent, reward: judge.reward },
    data: { train: prompts, dev: [], ptx: ptx ? text : undefined, endId },
    value: { model: valueModel, checkpoint, bias: head.bias },
  });
}

/** Log-probabilities of the live policy; who asks for it destroys it. */
export function policyScorer({ models, options: { device } }: Ppo): TokenScorer {
  const { pool } = models.policyStep.inner;
  return new TokenScorer(device, models.policy, { kind: "log-probability", rows: 64 }, pool);
}

/** Responses to prompts. */
export async function written(
  engine: Engine,
  { tokenizer, endId, seed }: Pick<AlignParts, "tokenizer" | "endId" | "seed">,
  prompts: readonly Prompt[],
  firstChoice: number,
): Promise<Episode[]> {
  const options = { responseTokens: RESPONSE_TOKENS, endId, seed, firstChoice };
  const writing = rollOut(engine, tokenizer, prompts, options);
  for (;;) {
    const { done, value } = await writing.next();
    if (done) return value;
  }
}

type Base = Pick<
  AlignParts,
  "device" | "root" | "seed" | "tokenizer" | "endId" | "model" | "parent"
>;

async function pretrain(
  device: Device,
  root: string,
  { text, tokenizer, model, seed, steps }: {
    text: PreparedData;
    tokenizer: Tokenizer;
    model: ModelConfig;
    seed: number;
    steps: number;
  },
): Promise<Checkpoint> {
  const { rows: R, lr } = PRETRAIN;
  const T = model.contextLength;
  const weights = new Weights(device, model, { trainable: true });
  const settings = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, clip: 1 };
  const step = await SftStep.create(device, weights, { rows: R, settings, dropout: 0, seed });
  try {
    weights.initialise(device, seed);
    const isResponse = new Uint8Array(T).fill(1);
    for (let i = 0; i < steps; i++) {
      const rows = Array.from({ length: R }, (_, r) => {
        const ids = new Uint32Array(T);
        text.train.read(((i * R + r) * 7919) % (text.train.count - T), ids);
        return { ids, isResponse };
      });
      const rate = lr * (1 - 0.9 * i / steps);
      await step.run(i, [responseBatch(rows, { R, T })], rate);
      step.take();
    }
    await step.drain();
    return await saveParentRun(device, root, { name: "pretrain", weights, tokenizer });
  } finally {
    step.destroy();
    weights.destroy();
  }
}

async function fineTune(
  device: Device,
  root: string,
  { world, text, tokenizer, model, parent, seed, prompts }: {
    world: LetterWorld;
    text: PreparedData;
    tokenizer: Tokenizer;
    model: ModelConfig;
    parent: Checkpoint;
    seed: number;
    prompts: readonly string[];
  },
): Promise<Checkpoint> {
  const train = prompts.map((content) =>
    encodeDialogue(tokenizer, [
      { role: "user", content },
      { role: "assistant", content: world.demonstration(content) },
    ])
  );
  const config = sftSchema.parse({
    ...{ data: "demonstrations", epochs: 4, batchRows: 16, lr: 5e-4, dropout: 0, seed },
    pretrainShare: 0.5, // else it is SFT that forgets, and PPO has nothing left to lose
    pretrainData: ["text"],
  });
  const data = { train, dev: [], pretrain: text };
  const state = await Sft.open({ device, config, model, data, tokenizerFiles: {}, parent });
  try {
    while (state.step < state.plan.totalSteps) {
      await state.advance();
      state.take();
    }
    await state.drain();
    return await saveParentRun(device, root, { name: "sft", weights: state.weights, tokenizer });
  } finally {
    state.destroy();
  }
}

/** Ranks responses of the SFT policy: lines of a file of rankings. */
async function rank(
  base: Base,
  world: LetterWorld,
  prompts: readonly Prompt[],
): Promise<string[]> {
  const { device, model, parent } = base;
  const weights = new Weights(device, model, { trainable: false });
  loadWeights(device, parent, weights);
  const engine = Engine.create(device, weights, { slots: 64 });
  const rows = prompts.flatMap((prompt) => new Array<Prompt>(RANKED).fill(prompt));
  const episodes = await written(engine, base, rows, 0);
  engine.destroy();
  weights.destroy();
  return prompts.flatMap(({ text: prompt }, i) => {
    const completions = episodes.slice(i * RANKED, (i + 1) * RANKED).map(({ text }) => text);
    if (completions.some((text) => text.trim() === "")) return [];
    return [JSON.stringify({ prompt, completions, ranks: world.ranks(completions.map(gold)) })];
  });
}

/** Trains a reward model on rankings, as a run of this name. */
async function learnToJudge(
  base: Base,
  name: string,
  rankings: readonly string[],
): Promise<Judge> {
  const { device, root, tokenizer, model: policy, parent, seed } = base;
  const file = `${root}/${name}.jsonl`;
  await Deno.writeTextFile(file, rankings.join("\n"));
  const config = rewardSchema.parse({
    ...{ data: file, epochs: 3, batchRows: 16, lr: 1e-3, validation: 0.25, seed },
  });
  const maxTokens = policy.contextLength;
  const data = await loadRewardData(config, { tokenizer, maxTokens });
  const tokenizerFiles = dialogueTokenizerFiles(tokenizer, policy);
  const options = { device, config, model: policy, data, tokenizerFiles, parent };
  const state = await RewardTraining.open(options);
  try {
    while (state.step < state.plan.totalSteps) {
      await state.advance();
      state.take();
    }
    await state.drain();
    const { accuracy, pairs } = await state.evaluate();
    const run = await RunWriter.create(root, name, {
      version: 1,
      stage: "reward",
      createdAt: new Date().toISOString(),
      parent: null,
      data: [],
      config: {},
      variants: pretrainVariants(device),
      versions: {},
      adapter: null,
    });
    await state.save(run, undefined);
    run.close();
    // Of the very pairs that are held out: those that have a weight.
    const ceilings = data.dev.flatMap(({ rows, weights }) => {
      const K = rows.length;
      const golds = rows.map((ids) => gold(responseOf(tokenizer, ids)));
      return weights.flatMap((weight, n) =>
        weight === 0 ? [] : [ceilingOf(golds[Math.floor(n / K)]!, golds[n % K]!)]
      );
    });
    const ceiling = ceilings.reduce((sum, share) => sum + share, 0) / ceilings.length;
    const model = await openRewardModel(root, name, tokenizer);
    const reward = new ModelReward(device, model, { tokenizer, isDialogue: true, rows: 64 });
    return { model, reward, accuracy, pairs, ceiling };
  } finally {
    state.destroy();
  }
}

/** The assistant's text of a dialogue. */
function responseOf(tokenizer: Tokenizer, ids: Uint32Array): string {
  const start = ids.lastIndexOf(tokenizer.specialTokens.get("<|assistant|>")!);
  return tokenizer.decode(ids.subarray(start), { skipSpecial: true });
}

/**
 * What an iteration of PPO-ptx takes and where its time goes; and rollouts of 64 texts at a time
 * beside one at a time, by the same engine on the same weights.
 *
 * The weights are random and no response ends by itself, so that every one has all of its tokens.
 * Before the timing the log-probabilities of a rollout are compared with those of the training's
 * forward, token by token.
 *
 * @module
 */
import { prepareData } from "../src/data/prepare.ts";
import type { Device } from "../src/gpu/device.ts";
import { spread } from "../src/gpu/profile.ts";
import type { ModelConfig } from "../src/model/config.ts";
import { Weights } from "../src/model/parameters.ts";
import { DIALOGUE_TOKENS } from "../src/prompt/dialogue.ts";
import { RESERVED_TOKENS } from "../src/tokenizer/special.ts";
import type { Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { trainBpeFromCounts, WordCounts } from "../src/tokenizer/train.ts";
import { ppoSchema } from "../src/train/ppo_config.ts";
import type { PpoMetrics } from "../src/train/ppo_events.ts";
import { encodePrompt } from "../src/train/ppo_data.ts";
import { FunctionReward } from "../src/train/ppo_reward.ts";
import { type Episode, rollOut } from "../src/train/ppo_rollout.ts";
import { Ppo } from "../src/train/ppo_training.ts";
import { type Bench, type BenchContext, check, type Row } from "./harness.ts";
import { saveParentRun } from "./parent_run.ts";

const SIZES = {
  whole: { layers: 4, heads: 4, channels: 128, responseTokens: 64, iterations: 4 },
  quick: { layers: 2, heads: 2, channels: 64, responseTokens: 16, iterations: 2 },
};
const BATCH = 64;
/** Texts that are timed one at a time. */
const ALONE = 3;
/** Times that rollouts side by side have to be faster. */
const BAR = 8;
const BOUND = 1e-4;

/** `./brachio bench ppo` */
export const bench: Bench = {
  name: "ppo",
  summary: "iterations of PPO-ptx: rollout, scoring, updates; rollouts of 64 beside one at a time",
  async run(context) {
    const folder = await Deno.makeTempDir({ prefix: "brachio-bench-" });
    try {
      return await measure(context, folder);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
};

async function measure({ device, quick }: BenchContext, root: string) {
  const size = SIZES[quick ? "quick" : "whole"];
  const { state, close } = await open(device, root, size);
  try {
    const { models, options: { data } } = state;
    const prompts = data.train;
    const one = models.engineOf(models.policy, 1);
    const errorShare = await checkRollout(state);
    await written(state, models.engine, prompts.slice(0, BATCH), size.responseTokens); // compiles
    await written(state, one, prompts.slice(0, 1), size.responseTokens);
    const rates = { together: [] as number[], alone: [] as number[] };
    for (let i = 0; i < 3; i++) {
      const all = await written(state, models.engine, prompts.slice(0, BATCH), size.responseTokens);
      const few = await written(state, one, prompts.slice(0, ALONE), size.responseTokens);
      rates.together.push(all.tokensPerSec);
      rates.alone.push(few.tokensPerSec);
    }
    one.destroy();
    const together = spread(rates.together).ms;
    const alone = spread(rates.alone).ms;
    const metrics: PpoMetrics[] = [];
    for (let i = 0; i <= size.iterations; i++) metrics.push(await iteration(state));
    metrics.shift(); // it compiles
    const of = (name: keyof PpoMetrics) => spread(metrics.map((each) => each[name] as number)).ms;
    const iterationMs = metrics.map((each) => each["time/iteration_ms"]);
    const percent = (name: keyof PpoMetrics) => `${Math.round(100 * of(name))} %`;
    const row: Row = {
      name: `${BATCH} episodes of ${size.responseTokens} tokens, ${state.updates} updates`,
      timing: { ...spread(iterationMs), samples: iterationMs.length },
      errorShare,
      extra: {
        "rollout tokens/s": Math.round(of("rollout_tokens_per_second")),
        "iterations/s": (1000 / spread(iterationMs).ms).toFixed(2),
        "updates/s": (1000 * state.updates / (of("time/update") * spread(iterationMs).ms))
          .toFixed(2),
        "rollout": percent("time/rollout"),
        "scoring": percent("time/scoring"),
        "update": percent("time/update"),
        "tokens/s at 64": Math.round(together),
        "tokens/s at 1": Math.round(alone),
        "×": (together / alone).toFixed(1),
      },
    };
    const verdict = together >= BAR * alone ? "met" : "not met";
    const note = `rollouts of ${BATCH} at a time: ${(together / alone).toFixed(1)} times as many ` +
      `tokens a second as one at a time; wanted: ${BAR}: ${verdict}`;
    return { rows: [row], notes: [note] };
  } finally {
    await close();
  }
}

async function open(device: Device, root: string, size: typeof SIZES.whole) {
  const words = Array.from({ length: 400 }, (_, i) => `w${(i * 7919 % 997).toString(36)}`);
  const text = Array.from({ length: 3000 }, (_, i) => words[(i * i + 3 * i) % 400]).join(" ");
  await Deno.writeTextFile(`${root}/text.txt`, text);
  const counts = new WordCounts([...RESERVED_TOKENS]);
  counts.add(text);
  const tokenizer: Tokenizer = trainBpeFromCounts(counts, { vocabSize: 1024 })
    .withSpecialTokens(DIALOGUE_TOKENS);
  const { responseTokens, iterations, ...layers } = size;
  const model: ModelConfig = {
    ...layers,
    vocabSize: tokenizer.vocabSize,
    contextLength: 128,
    norm: "pre",
    activation: "gelu",
    bias: true,
    band: 0,
    layerNormEps: 1e-5,
  };
  const weights = new Weights(device, model, { trainable: false });
  weights.initialise(device, 1);
  const parent = await saveParentRun(device, root, { name: "sft", weights, tokenizer });
  weights.destroy();
  const ptx = await prepareData({
    inputs: [`${root}/text.txt`],
    cacheFolder: `${root}/.data`,
    encoder: {
      encode: (part) => tokenizer.encode(part, { allowSpecial: false }),
      vocabSize: tokenizer.vocabSize,
      sha256: tokenizer.sha256,
    },
    separator: undefined,
    split: { by: "end", fraction: 0 },
    field: "text",
  });
  const config = ppoSchema.parse({
    ...{ data: "prompts", reward: "length.ts", responseTokens, iterations, evalEvery: 0 },
    ...{ batchRows: BATCH, miniRows: 16, ptxRatio: 1, ptxTokens: 64, lr: 1e-6, klCoef: 0.02 },
  });
  const train = Array.from({ length: BATCH }, (_, i) => {
    const content = words.slice(i, i + 12).join(" ");
    return encodePrompt(tokenizer, { messages: [{ role: "user", content }] }, "dialogue");
  });
  const reward = new FunctionReward(
    "length",
    (answers) => answers.map(({ response }) => response.length % 7),
  );
  const endId = tokenizer.specialTokens.get("<|end|>")!;
  const state = await Ppo.open({
    ...{ device, config, model, tokenizer, tokenizerFiles: {}, parent, reward },
    data: { train, dev: [], ptx, endId },
    value: { model, checkpoint: undefined, bias: 0 },
  });
  const close = () => {
    state.destroy();
    ptx.close();
  };
  return { state, close };
}

type Engine = Parameters<typeof rollOut>[0];

/** Responses to some prompts, and how fast they came. */
async function written(
  { options }: Ppo,
  engine: Engine,
  prompts: Parameters<typeof rollOut>[2],
  responseTokens: number,
): Promise<{ episodes: Episode[]; tokensPerSec: number }> {
  const { data: { endId }, tokenizer } = options;
  const start = performance.now();
  engine.forget();
  const episodes = await ended(
    rollOut(engine, tokenizer, prompts, { responseTokens, endId, seed: 1, firstChoice: 0 }),
  );
  const tokens = episodes.reduce((sum, { logProbabilities }) => sum + logProbabilities.length, 0);
  return { episodes, tokensPerSec: 1000 * tokens / (performance.now() - start) };
}

/** @returns the largest difference to the training's forward, as a share of what is allowed */
async function checkRollout(state: Ppo): Promise<number> {
  const { models, options: { data, config } } = state;
  const prompts = data.train.slice(0, 8);
  const { episodes } = await written(state, models.engine, prompts, config.responseTokens);
  // The reference is what the policy begins as.
  const again = await ended(models.referenceScorer.run(episodes));
  const flat = (rows: readonly Float64Array[]) => rows.flatMap((row) => [...row]);
  const ours = flat(episodes.map(({ logProbabilities }) => logProbabilities));
  return check("log-probabilities of a rollout", ours, flat(again), () => BOUND);
}

async function iteration(state: Ppo): Promise<PpoMetrics> {
  return (await ended(state.iterate()))!.metrics;
}

async function ended<T>(generator: AsyncGenerator<unknown, T>): Promise<T> {
  for (;;) {
    const { done, value } = await generator.next();
    if (done) return value;
  }
}

/**
 * PPO on trlX's random walks with its published settings: how much of the gap between imitating
 * random walks and always walking the shortest way is closed, for three seeds.
 *
 * Settings of trlX's configs/ppo_randomwalks.yml: 128 rollouts, 4 passes, learning rate 3e-4, Adam
 * (0.9, 0.95), decay 1e-6, KL 0.05 adapted to 6 over 10,000, λ 0.95, both clip ranges 0.2, at most
 * 1,000 updates; a decoder of 6 layers of 144 that has learnt the walks. Updates are of 64 episodes
 * where trlX has 100 and 28, and the value model is one of its own where trlX has a head.
 *
 * @module
 */
import type { Device } from "../src/gpu/device.ts";
import { median } from "../src/gpu/profile.ts";
import type { ModelConfig } from "../src/model/config.ts";
import { Weights } from "../src/model/parameters.ts";
import { PhiloxStream } from "../src/random/philox.ts";
import type { Checkpoint } from "../src/run/checkpoint.ts";
import { CharacterTokenizer } from "../src/tokenizer/characters.ts";
import { END_OF_TEXT } from "../src/tokenizer/special.ts";
import type { Tokenizer } from "../src/tokenizer/tokenizer.ts";
import { bootstrap } from "../src/train/metrics.ts";
import { ppoSchema } from "../src/train/ppo_config.ts";
import { encodePrompt } from "../src/train/ppo_data.ts";
import { FunctionReward } from "../src/train/ppo_reward.ts";
import { rollOut } from "../src/train/ppo_rollout.ts";
import { Ppo } from "../src/train/ppo_training.ts";
import { responseBatch } from "../src/train/sft_batches.ts";
import { SftStep } from "../src/train/sft_step.ts";
import type { Bench, Row } from "./harness.ts";
import { saveParentRun } from "./parent_run.ts";
import { MOST_NODES, type RandomWalks, randomWalks } from "./randomwalks_task.ts";

const SEEDS = [1, 2, 3];
const LAYERS = { layers: 6, heads: 12, channels: 144 };
const SFT = { epochs: 20, rows: 100, lr: 1e-3 };
/** 1,000 updates of 8 an iteration. */
const ITERATIONS = 125;
const EVERY = 5;
/** The gap that has to be closed, and where a seed may end early. */
const BAR = 0.9;
const ENOUGH = 0.96;
/** Walks from each start in an evaluation. */
const EACH = 50;

/** `./brachio bench randomwalks` */
export const bench: Bench = {
  name: "randomwalks",
  summary: "PPO on trlX's random walks: share of the gap to the shortest walks that is closed",
  async run({ device, quick }) {
    const rows: Row[] = [];
    const notes: string[] = [];
    for (const seed of quick ? SEEDS.slice(0, 1) : SEEDS) {
      const folder = await Deno.makeTempDir({ prefix: "brachio-bench-" });
      try {
        rows.push(await runSeed(device, folder, seed, quick));
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    }
    const shares = rows.map(({ extra }) => Number(extra!["gap closed"]));
    notes.push(
      `gap closed: ${
        shares.map((share) => share.toFixed(3)).join(", ")
      }; wanted: ${BAR} of each: ` +
        (shares.every((share) => share >= BAR) ? "met" : "not met"),
    );
    return { rows, notes };
  },
};

async function runSeed(device: Device, root: string, seed: number, quick: boolean): Promise<Row> {
  const task = randomWalks(seed);
  const alphabet = Array.from({ length: 21 }, (_, i) => String.fromCharCode(97 + i)).join("");
  const tokenizer = CharacterTokenizer.fromText([alphabet]).withSpecialTokens([END_OF_TEXT]);
  const model: ModelConfig = {
    ...LAYERS,
    vocabSize: tokenizer.vocabSize,
    contextLength: MOST_NODES,
    norm: "pre",
    activation: "gelu",
    bias: true,
    band: 0,
    layerNormEps: 1e-5,
  };
  const epochs = quick ? 2 : SFT.epochs;
  const parent = await imitate(device, root, { task, tokenizer, model, seed, epochs });
  const train = task.starts.map((start) =>
    encodePrompt(tokenizer, { messages: [{ role: "user", content: start }] }, "plain")
  );
  const config = ppoSchema.parse({
    data: "starts",
    reward: "optimality.ts",
    ...{ template: "plain", responseTokens: MOST_NODES - 1, missingEndPenalty: 0 },
    ...{ batchRows: 128, miniRows: 64, ppoEpochs: 4, iterations: ITERATIONS },
    ...{ lr: 3e-4, warmupIterations: 0, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 1e-6 },
    ...{ klCoef: 0.05, klTarget: 6, klHorizon: 10_000, discount: 1, gaeLambda: 0.95 },
    ...{
      clipRange: 0.2,
      valueClipRange: 0.2,
      whitenRewards: false,
      emaRate: 0,
      evalEvery: 0,
      seed,
    },
  });
  const reward = new FunctionReward(
    "optimality",
    (answers) => answers.map(({ prompt, response }) => task.optimality(prompt + response)),
  );
  const endId = tokenizer.specialTokens.get(END_OF_TEXT)!;
  const state = await Ppo.open({
    ...{ device, config, model, tokenizer, tokenizerFiles: {}, parent, reward },
    data: { train, dev: [], ptx: undefined, endId },
    value: { model, checkpoint: undefined, bias: 0 },
  });
  try {
    const before = await evaluate(state, task);
    const samples: number[] = [];
    let after = before;
    const closed = () => (mean(after) - mean(before)) / (1 - mean(before));
    while (state.step < (quick ? 2 : ITERATIONS) && closed() < ENOUGH) {
      const start = performance.now();
      for await (const _ of state.iterate()); // one iteration
      samples.push(performance.now() - start);
      if (state.step % EVERY !== 0) continue;
      after = await evaluate(state, task);
      const now = `optimality ${mean(before).toFixed(3)} → ${mean(after).toFixed(3)}`;
      console.log(
        `seed ${seed}, ${8 * state.step} updates: ${now}, gap closed ${closed().toFixed(3)}`,
      );
    }
    if (quick) after = await evaluate(state, task);
    const [low, high] = bootstrap((values) => mean(Array.from(values)), after, after);
    const sorted = samples.toSorted((a, b) => a - b);
    return {
      name: `seed ${seed}: iteration of 128 episodes`,
      timing: {
        ms: median(sorted),
        lowMs: sorted[Math.floor(0.1 * sorted.length)]!,
        highMs: sorted[Math.floor(0.9 * sorted.length)]!,
        samples: sorted.length,
      },
      errorShare: 0,
      extra: {
        "before": mean(before).toFixed(4),
        "after": mean(after).toFixed(4),
        "95 %": `${low.toFixed(3)}–${high.toFixed(3)}`,
        "gap closed": closed().toFixed(4),
        "walks": after.length,
        "updates": 8 * state.step,
      },
    };
  } finally {
    state.destroy();
  }
}

/** Optimality of walks from every start, drawn at temperature 1. */
async function evaluate(state: Ppo, { starts, optimality }: RandomWalks): Promise<number[]> {
  const { data, tokenizer, config } = state.options;
  const prompts = starts.flatMap((_, i) =>
    new Array<typeof data.train[0]>(EACH).fill(data.train[i]!)
  );
  const options = {
    responseTokens: config.responseTokens,
    endId: data.endId,
    seed: config.seed,
    firstChoice: 2 ** 31,
  };
  state.models.engine.forget();
  const writing = rollOut(state.models.engine, tokenizer, prompts, options);
  for (;;) {
    const { done, value } = await writing.next();
    if (done) return value.map(({ prompt, text }) => optimality(prompt.text + text));
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** A decoder that has learnt the walks, saved as run "sft". */
async function imitate(
  device: Device,
  root: string,
  { task, tokenizer, model, seed, epochs }: {
    task: RandomWalks;
    tokenizer: Tokenizer;
    model: ModelConfig;
    seed: number;
    epochs: number;
  },
): Promise<Checkpoint> {
  const endId = tokenizer.specialTokens.get(END_OF_TEXT)!;
  const rows = task.walks.map((walk) => {
    const ids = Uint32Array.from([...tokenizer.encode(walk), endId].slice(0, MOST_NODES));
    return { ids, isResponse: new Uint8Array(ids.length).fill(1) };
  });
  const weights = new Weights(device, model, { trainable: true });
  const settings = { beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0, clip: 1 };
  const step = await SftStep.create(device, weights, {
    rows: SFT.rows,
    settings,
    dropout: 0,
    seed,
  });
  try {
    weights.initialise(device, seed);
    const shape = { R: SFT.rows, T: MOST_NODES };
    let number = 0;
    let loss = NaN;
    for (let epoch = 0; epoch < epochs; epoch++) {
      const order = new PhiloxStream(seed, 1000 + epoch).shuffle(rows.map((_, i) => i));
      for (let at = 0; at < order.length; at += SFT.rows) {
        const part = order.slice(at, at + SFT.rows).map((i) => rows[i]!);
        await step.run(number++, [responseBatch(part, shape)], SFT.lr);
      }
      loss = (await step.drain()).at(-1)!.loss;
    }
    console.log(`seed ${seed}: ${number} steps on the walks, loss ${loss.toFixed(3)}`);
    return await saveParentRun(device, root, { name: "sft", weights, tokenizer });
  } finally {
    step.destroy();
    weights.destroy();
  }
}

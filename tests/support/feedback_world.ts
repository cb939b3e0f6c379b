/**
 * A small world for the loop of feedback: a policy that says words at random, a reward model that
 * knows nothing yet, and hidden rules by which answers are judged.
 *
 * @module
 */
import { loadConfig } from "../../src/config/config.ts";
import type { Device } from "../../src/gpu/device.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { Run, RunWriter } from "../../src/run/run_folder.ts";
import { trainBpe } from "../../src/tokenizer/train.ts";
import { runEpochs } from "../../src/train/epochs.ts";
import { RewardTraining } from "../../src/train/reward.ts";
import { rewardSchema } from "../../src/train/reward_config.ts";
import { loadRewardData } from "../../src/train/reward_data.ts";
import { Sft } from "../../src/train/sft.ts";
import { sftSchema } from "../../src/train/sft_config.ts";
import { dialogueTokenizerFiles, loadSftData } from "../../src/train/sft_data.ts";
import { runInfo } from "./runs.ts";

const WORDS = "red blue sun moon cat dog tree stone one two bread salt".split(" ");
const THINGS = "hill lake road house field coast tower bridge market garden".split(" ");
const PLACES = "north south east west old new high low far near".split(" ");

/** Settings of a server that learns in this world. */
export const LOOP_SETTINGS = {
  reward: "rm",
  storePrompts: true,
  training: {
    after: 370, // about what 200 answers, five to a prompt, have in pairs
    reward: { epochs: 16, lr: 0.004, batchRows: 4 },
    ppo: {
      ...{ iterations: 24, batchRows: 64, miniRows: 32, microRows: 8, responseTokens: 22 },
      ...{ lr: 0.001, warmupIterations: 0, emaRate: 0.9, klCoef: 0.05 },
      ...{ evalEvery: 0, evalRows: 8, sampleRows: 0, saveEvery: 1000 },
    },
  },
};
/** Judges an answer; higher is better. */
export type HiddenRule = (answer: string) => number;

/** Count of a word. */
const count = (answer: string, word: string) =>
  answer.split(/\s+/).filter((own) => own === word).length;

/** Rules that have nothing in common; the length breaks few ties. */
export const RULES: Readonly<Record<string, HiddenRule>> = {
  "more of the sun, less of stone": (answer) =>
    count(answer, "sun") - count(answer, "stone") - answer.length / 1e3,
  "bread and salt, nothing red": (answer) =>
    count(answer, "bread") + count(answer, "salt") - 2 * count(answer, "red") +
    answer.length / 1e3,
  "animals rather than two": (answer) =>
    count(answer, "cat") + count(answer, "dog") - count(answer, "two") +
    answer.length / 1e3,
};

/** Prompts that are all different. */
export function prompts(): string[] {
  return PLACES.flatMap((place) => THINGS.map((thing) => `tell of the ${place} ${thing}`));
}

/** The prompt as the model of a chat reads it. */
export function chatPrompt(text: string): string {
  return `<|user|>${text}<|end|><|assistant|>`;
}

/** Makes the runs "policy" and "rm". */
export async function makeWorld(device: Device, root: string): Promise<void> {
  const stream = new PhiloxStream(29);
  const say = () =>
    Array.from({ length: 3 + stream.integer(6) }, () => WORDS[stream.integer(WORDS.length)])
      .join(" ");
  const all = prompts();
  const rows = Array.from({ length: 640 }, (_, i) => ({
    prompt: all[i % all.length]!,
    completion: say(),
  }));
  const tokenizer = trainBpe(rows.map(({ prompt, completion }) => `${prompt} ${completion}`), {
    vocabSize: 360,
  });
  const model = {
    vocabSize: tokenizer.vocabSize,
    contextLength: 48,
    layers: 2,
    heads: 2,
    channels: 32,
    norm: "pre",
    activation: "gelu",
    bias: true,
    band: 0,
    layerNormEps: 1e-5,
  } as const;
  await Deno.writeTextFile(`${root}/words.jsonl`, rows.map((r) => JSON.stringify(r)).join("\n"));
  const recipe = ["batchRows=32", "dropout=0", "validation=0", "evalEvery=0"];
  const tokenizerFiles = dialogueTokenizerFiles(tokenizer, model);

  const sft = await loadConfig(sftSchema, {
    set: [`data=${root}/words.jsonl`, "epochs=10", "lr=0.004", "saveEvery=10000", ...recipe],
  });
  const options = { tokenizer, maxTokens: 48, cacheFolder: `${root}/.data` };
  const policy = await Sft.open({
    device,
    config: sft,
    model,
    data: await loadSftData(sft, options),
    tokenizerFiles,
  });
  const policyRun = await RunWriter.create(root, "policy", runInfo({ stage: "sft" }));
  for await (const _ of runEpochs(policy, policyRun));
  policy.destroy();
  policyRun.close();

  // One step of next to nothing: it judges by chance.
  const pairs = rows.slice(0, 32).map(({ prompt }) => ({ prompt, chosen: say(), rejected: say() }));
  await Deno.writeTextFile(`${root}/chance.jsonl`, pairs.map((r) => JSON.stringify(r)).join("\n"));
  const config = await loadConfig(rewardSchema, {
    set: [`data=${root}/chance.jsonl`, "epochs=1", "lr=1e-9", ...recipe],
  });
  const parent = await (await Run.open(root, "policy")).checkpoint();
  const reward = await RewardTraining.open({
    device,
    config,
    model,
    data: await loadRewardData(config, options),
    tokenizerFiles,
    parent,
  });
  const rewardRun = await RunWriter.create(root, "rm", runInfo({ stage: "reward" }));
  for await (const _ of runEpochs(reward, rewardRun));
  reward.destroy();
  rewardRun.close();
}

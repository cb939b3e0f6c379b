/**
 * Tiny runs of the stages that make a model follow instructions, for tests.
 *
 * @module
 */
import { loadConfig } from "../../src/config/config.ts";
import type { Device } from "../../src/gpu/device.ts";
import { configFromJson } from "../../src/model/config_json.ts";
import { DIALOGUE_TOKENS } from "../../src/prompt/dialogue.ts";
import { Run, RunWriter } from "../../src/run/run_folder.ts";
import { loadTokenizer } from "../../src/tokenizer/file.ts";
import { Dpo, type DpoEvaluation } from "../../src/train/dpo.ts";
import { dpoSchema } from "../../src/train/dpo_config.ts";
import { type EpochEvaluation, type EpochStage, runEpochs } from "../../src/train/epochs.ts";
import type { LengthResult, StepTag } from "../../src/train/length_step.ts";
import { type RewardEvaluation, RewardTraining } from "../../src/train/reward.ts";
import { rewardSchema } from "../../src/train/reward_config.ts";
import { loadRewardData } from "../../src/train/reward_data.ts";
import { Sft } from "../../src/train/sft.ts";
import { sftSchema } from "../../src/train/sft_config.ts";
import { dialogueTokenizerFiles, loadSftData } from "../../src/train/sft_data.ts";
import { taskRows } from "./finetune.ts";
import { runInfo } from "./runs.ts";

/** Texts and whether they are good or bad, always the same. */
function labelled(count: number): [text: string, label: string][] {
  const [, ...lines] = taskRows("classification", count).trimEnd().split("\n");
  return lines.map((line) => line.split(",") as [string, string]);
}

/** Questions whose answer is in their adjective, a line of JSON each. */
export function demonstrationLines(count: number): string {
  return labelled(count).map(([prompt, completion]) =>
    JSON.stringify({ prompt, completion }) + "\n"
  ).join("");
}

/** The same with the right answer, the wrong one and, for K above 2, one that is as wrong. */
export function comparisonLines(count: number, K = 2): string {
  return labelled(count).map(([prompt, right], i) => {
    const wrong = right === "good" ? "bad" : "good";
    const completions = [right, wrong, `${wrong} `, "a dull one"].slice(0, K);
    const row = K === 2
      ? { prompt, chosen: right, rejected: wrong, confidence: i % 3 === 0 ? "low" : "high" }
      : { prompt, completions: completions.toReversed(), ranks: [3, 2, 2, 1].slice(4 - K) };
    return JSON.stringify(row) + "\n";
  }).join("");
}

interface Place {
  device: Device;
  root: string;
  name: string;
  set: readonly string[];
}

/** Trains from run "parent", or goes on from the last checkpoint, until a step is saved. */
export async function sftUntil(place: Place, step: number): Promise<void> {
  const config = await loadConfig(sftSchema, { set: place.set });
  const { run, checkpoint, ...open } = await openPlace(place, "sft");
  const { tokenizer, model, tokenizerFiles } = open;
  const options = { tokenizer, maxTokens: model.contextLength, cacheFolder: `${place.root}/.data` };
  const data = await loadSftData(config, options);
  const parts = { device: place.device, config, model, data, tokenizerFiles };
  const state = await Sft.open({ ...parts, parent: open.parent, checkpoint });
  await driveUntil(state, run, step);
  data.pretrain?.close();
}

/** As {@linkcode sftUntil}, of a reward model. @returns the evaluations */
export async function rewardUntil(place: Place, step: number): Promise<RewardEvaluation[]> {
  const config = await loadConfig(rewardSchema, { set: place.set });
  const { run, checkpoint, ...open } = await openPlace(place, "reward");
  const { tokenizer, model, tokenizerFiles } = open;
  const data = await loadRewardData(config, { tokenizer, maxTokens: model.contextLength });
  const parts = { device: place.device, config, model, data, tokenizerFiles };
  const state = await RewardTraining.open({ ...parts, parent: open.parent, checkpoint });
  return await driveUntil(state, run, step);
}

/** As {@linkcode sftUntil}, of a policy by its preferences. @returns the evaluations */
export async function dpoUntil(place: Place, step: number): Promise<DpoEvaluation[]> {
  const config = await loadConfig(dpoSchema, { set: place.set });
  const { run, checkpoint, ...open } = await openPlace(place, "dpo");
  const { tokenizer, model, tokenizerFiles } = open;
  const data = await loadRewardData(config, { tokenizer, maxTokens: model.contextLength });
  const parts = { device: place.device, config, model, data, tokenizerFiles };
  const state = await Dpo.open({ ...parts, parent: open.parent, checkpoint });
  return await driveUntil(state, run, step);
}

async function openPlace({ root, name }: Place, stage: string) {
  const parent = await (await Run.open(root, "parent")).checkpoint();
  const tokenizer = loadTokenizer(await parent.text("tokenizer.json"))
    .withSpecialTokens(DIALOGUE_TOKENS);
  const shape = configFromJson(await parent.json("config.json"));
  const model = { ...shape, vocabSize: tokenizer.vocabSize };
  const isOld = await Deno.stat(`${root}/${name}/run.json`).then(() => true, () => false);
  const run = isOld
    ? await RunWriter.open(root, name)
    : await RunWriter.create(root, name, runInfo({ stage }));
  const checkpoint = isOld ? await run.checkpoint("last") : undefined;
  if (checkpoint) await run.rewindTo(checkpoint);
  const tokenizerFiles = dialogueTokenizerFiles(tokenizer, model);
  return { parent, tokenizer, model, run, checkpoint, tokenizerFiles };
}

async function driveUntil<R extends LengthResult<StepTag>, E extends EpochEvaluation>(
  state: EpochStage<R, E> & { destroy(): void },
  run: RunWriter,
  step: number,
): Promise<E[]> {
  const evaluations: E[] = [];
  for await (const event of runEpochs<R, E>(state, run)) {
    if (event.kind === "step") run.log({ step: event.step + 1, "train/loss": event.loss });
    if (event.kind === "evaluation") {
      evaluations.push(event);
      run.log({ step: event.step, "val/loss": event.loss });
    }
    if (event.kind === "saved" && event.step === step) break;
  }
  state.destroy();
  run.close();
  return evaluations;
}

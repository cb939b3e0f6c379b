/**
 * Tiny fine-tuning runs for tests.
 *
 * @module
 */
import { loadConfig } from "../../src/config/config.ts";
import { TASK_TOKENS } from "../../src/data/task_tokens.ts";
import type { Device } from "../../src/gpu/device.ts";
import type { ModelConfig } from "../../src/model/config.ts";
import { configFromJson, configToJson } from "../../src/model/config_json.ts";
import { Weights } from "../../src/model/parameters.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { Run, RunWriter } from "../../src/run/run_folder.ts";
import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";
import { loadTokenizer } from "../../src/tokenizer/file.ts";
import { finetune, type FinetuneEvent, Finetuning } from "../../src/train/finetune.ts";
import { finetuneSchema } from "../../src/train/finetune_config.ts";
import { loadFinetuneData } from "../../src/train/finetune_data.ts";
import { tokenizerFiles } from "../../src/train/pretrain_data.ts";
import { runInfo } from "./runs.ts";

const ADJECTIVES = { good: ["fine", "great", "warm"], bad: ["dull", "cold", "poor"] };
const NOUNS = ["film", "story", "cast", "song"];

/** Texts whose adjective decides the label, as a table of a task; always the same. */
export function taskRows(task: "classification" | "choice", count: number): string {
  const stream = new PhiloxStream(11);
  const pick = <T>(items: readonly T[]) => items[stream.integer(items.length)]!;
  const lines = [task === "choice" ? "context,x,y,label" : "text,label"];
  for (let i = 0; i < count; i++) {
    const isGood = stream.integer(2) === 1;
    const [good, bad] = [pick(ADJECTIVES.good), pick(ADJECTIVES.bad)];
    const noun = `${pick(["a", "the", "one more"])} ${pick(NOUNS)}`;
    lines.push(
      task === "choice"
        ? `${noun},${isGood ? good : bad},${isGood ? bad : good},${isGood ? "x" : "y"}`
        : `${noun} is ${isGood ? good : bad},${isGood ? "good" : "bad"}`,
    );
  }
  return lines.join("\n") + "\n";
}

/**
 * Saves an untrained decoder of characters as a run of pre-training.
 *
 * @param more characters beside those of the rows
 */
export async function saveParent(
  device: Device,
  root: string,
  name: string,
  more = "",
): Promise<void> {
  const tokenizer = CharacterTokenizer.fromText([taskRows("classification", 200), more]);
  const model: ModelConfig = {
    vocabSize: tokenizer.vocabSize,
    contextLength: 32,
    layers: 2,
    heads: 2,
    channels: 16,
    norm: "post",
    activation: "gelu",
    bias: true,
    band: 0,
    layerNormEps: 1e-5,
  };
  const weights = new Weights(device, model, { trainable: false });
  weights.initialise(device, 5);
  const run = await RunWriter.create(root, name, runInfo());
  const tensors = weights.table.map(({ name, shape }) => ({
    name,
    shape,
    dtype: "f32" as const,
    bytes: () => weights.read(device, name),
  })).sort((a, b) => a.name < b.name ? -1 : 1);
  await run.save({
    step: 1,
    files: [
      { path: "model.safetensors", tensors },
      { path: "config.json", json: configToJson(model) },
      ...Object.entries(tokenizerFiles(tokenizer, model)).map(([path, json]) => ({ path, json })),
    ],
  });
  run.close();
  weights.destroy();
}

/** Fine-tunes in this process, from the last checkpoint if there is one, until a step is saved. */
export async function finetuneUntil(
  device: Device,
  root: string,
  name: string,
  set: readonly string[],
  step: number,
): Promise<FinetuneEvent[]> {
  const parent = await (await Run.open(root, "parent")).checkpoint();
  const config = await loadConfig(finetuneSchema, { set });
  const tokenizer = loadTokenizer(await parent.text("tokenizer.json"))
    .withSpecialTokens(TASK_TOKENS);
  const shape = configFromJson(await parent.json("config.json"));
  const model = { ...shape, vocabSize: tokenizer.vocabSize };
  const data = await loadFinetuneData(config, { tokenizer, maxTokens: model.contextLength });
  const isOld = await Deno.stat(`${root}/${name}/run.json`).then(() => true, () => false);
  const run = isOld
    ? await RunWriter.open(root, name)
    : await RunWriter.create(root, name, runInfo({ stage: "finetune" }));
  const checkpoint = isOld ? await run.checkpoint("last") : undefined;
  if (checkpoint) await run.rewindTo(checkpoint);
  const state = await Finetuning.open({
    device,
    config,
    model,
    data,
    tokenizerFiles: tokenizerFiles(tokenizer, model),
    parent,
    checkpoint,
  });
  const events: FinetuneEvent[] = [];
  for await (const event of finetune(state, run)) {
    events.push(event);
    if (event.kind === "step") run.log({ step: event.step + 1, "train/loss": event.loss });
    if (event.kind === "evaluation") run.log({ step: event.step, "val/loss": event.loss });
    if (event.kind === "saved" && event.step === step) break;
  }
  state.destroy();
  run.close();
  return events;
}

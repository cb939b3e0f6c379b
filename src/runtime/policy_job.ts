/**
 * The job "policy": a served policy goes on from feedback, by supervised fine-tuning on corrections
 * or by PPO on a reward model. The stage has a run of its own, whose end becomes a version of the
 * policy's run.
 *
 * @module
 */
import { join } from "node:path";
import * as z from "zod";
import { CannotError } from "../config/cannot.ts";
import { configFromJson } from "../model/config_json.ts";
import { DIALOGUE_TOKENS } from "../prompt/dialogue.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { publish } from "../run/publish.ts";
import { freeRunName, Run, type RunInfo, RunWriter } from "../run/run_folder.ts";
import { loadTokenizer } from "../tokenizer/file.ts";
import { checkEpochConfig } from "../train/epoch_config.ts";
import { runEpochs } from "../train/epochs.ts";
import { ppo } from "../train/ppo.ts";
import { checkPpoConfig, ppoSchema } from "../train/ppo_config.ts";
import { logPpoEvent, openPpo, preparePpo } from "../train/ppo_run.ts";
import { Sft } from "../train/sft.ts";
import { checkPretrainShare, sftSchema } from "../train/sft_config.ts";
import { dialogueTokenizerFiles, loadSftData } from "../train/sft_data.ts";
import { stageInfo } from "../train/stage_info.ts";
import type { Job, JobPlace } from "./jobs.ts";

/** What is trained on what. */
const policyJobSchema = z.strictObject({
  /** How. */
  stage: z.enum(["sft", "ppo"]),
  /** Run of the policy, which gets a version. */
  run: z.string(),
  /** Corrections, or prompts. */
  data: z.string(),
  /** The same to evaluate on. */
  dev: z.string().optional(),
  /** The reward model of PPO, as `run@step`. */
  reward: z.string(),
  /** Of the stage, as its command has them. */
  settings: z.record(z.string(), z.json()).default({}),
});

type Asked = z.output<typeof policyJobSchema>;

/** What the job tells. */
export type PolicyJobEvent =
  | { readonly kind: "step"; readonly step: number; readonly steps: number }
  | { readonly kind: "published"; readonly step: number; readonly from: string };

/** A stage that can be driven, with its run. */
interface Opened {
  readonly events: AsyncGenerator<{ readonly kind: string; readonly step: number }>;
  readonly run: RunWriter;
  readonly steps: number;
  stop(): void;
}

/**
 * Opens the policy, the data and a run for the stage.
 *
 * @throws {CannotError} When one of them cannot be had, or the settings do not fit.
 */
export async function policyJob(place: JobPlace, parameters: unknown): Promise<Job> {
  const { root } = place;
  const asked = policyJobSchema.parse(parameters);
  const cleanup = new AsyncDisposableStack();
  try {
    const policy = await Run.open(root, asked.run);
    const parent = await policy.checkpoint("current");
    const open = asked.stage === "sft" ? openSft : openPpoStage;
    const opened = await open(place, asked, parent, cleanup);
    return {
      events: drive(opened, root, asked),
      stop: () => opened.stop(),
      close: () => cleanup.disposeAsync(),
    };
  } catch (error) {
    await cleanup.disposeAsync();
    throw error;
  }
}

async function* drive(
  { events, run, steps }: Opened,
  root: string,
  asked: Asked,
): AsyncGenerator<PolicyJobEvent, void> {
  for await (const event of events) {
    yield { kind: "step", step: event.step, steps };
  }
  const reached = (await run.steps()).at(-1) ?? 0;
  if (reached < steps) return; // it was asked to stop: what its run has can be gone on with
  const last = await run.checkpoint("last");
  const { run: target } = asked;
  const step = await publish({ run: run.name, checkpoint: last }, { root, run: target, steps });
  yield { kind: "published", step, from: `${run.name}@${last.step}` };
}

async function openSft(
  { device, root, turns }: JobPlace,
  { run, data, dev, settings }: Asked,
  parent: Checkpoint,
  cleanup: AsyncDisposableStack,
): Promise<Opened> {
  const files = { data, ...(dev === undefined ? {} : { dev }) };
  const config = sftSchema.parse({ validation: 0, skipBad: true, ...settings, ...files });
  checkEpochConfig(config);
  checkPretrainShare(config);
  const tokenizer = loadTokenizer(await parent.text("tokenizer.json"))
    .withSpecialTokens(DIALOGUE_TOKENS);
  const own = configFromJson(await parent.json("config.json"));
  const model = { ...own, vocabSize: Math.max(own.vocabSize, tokenizer.vocabSize) };
  const maxTokens = Math.min(config.maxTokens ?? model.contextLength, model.contextLength);
  const cacheFolder = join(root, ".data");
  const read = await loadSftData(config, { tokenizer, maxTokens, cacheFolder });
  cleanup.defer(() => read.pretrain?.close());
  const state = await Sft.open({
    device,
    config,
    model,
    data: read,
    tokenizerFiles: dialogueTokenizerFiles(tokenizer, model),
    parent,
    turns,
  });
  cleanup.defer(() => state.destroy());
  const sources = read.files.map(({ path: name, sha256 }) => ({ name, sha256, tokens: 0 }));
  const info = stageInfo("sft", device, { config, parent: lineage(run, parent), data: sources });
  const writer = await RunWriter.create(root, await freeRunName(root, `${run}-sft`), info);
  cleanup.defer(() => writer.close());
  const events = async function* () {
    for await (const event of runEpochs(state, writer)) {
      const step = event.kind === "step" ? event.step + 1 : event.step;
      if (event.kind === "step") writer.log({ step, "train/loss": event.loss, lr: event.lr });
      if (event.kind === "evaluation") writer.log({ step, "val/loss": event.loss });
      yield { kind: event.kind, step };
    }
  };
  return {
    events: events(),
    run: writer,
    steps: state.plan.totalSteps,
    stop: () => state.stopping = true,
  };
}

async function openPpoStage(
  { device, root, turns }: JobPlace,
  { run, data, dev, reward, settings }: Asked,
  parent: Checkpoint,
  cleanup: AsyncDisposableStack,
): Promise<Opened> {
  const files = { data, ...(dev === undefined ? {} : { dev }) };
  const asked = ppoSchema.parse({ skipBad: true, ...settings, ...files, reward });
  checkPpoConfig(asked);
  const cacheFolder = join(root, ".data");
  const prepared = await preparePpo(asked, { root, parent, cacheFolder });
  cleanup.defer(() => prepared.close());
  const { config, sources } = prepared;
  const open = await openPpo(device, prepared, { turns });
  cleanup.defer(() => open.destroy());
  const info = stageInfo("ppo", device, { config, parent: lineage(run, parent), data: sources });
  const writer = await RunWriter.create(root, await freeRunName(root, `${run}-ppo`), info);
  cleanup.defer(() => writer.close());
  const events = async function* () {
    for await (const event of ppo(open.state, writer)) {
      await logPpoEvent(writer, event);
      yield { kind: event.kind, step: event.step };
    }
  };
  return {
    events: events(),
    run: writer,
    steps: config.iterations,
    stop: () => open.state.stopping = true,
  };
}

function lineage(run: string, checkpoint: Checkpoint): RunInfo["parent"] {
  const weights = checkpoint.manifest.files["model.safetensors"]?.sha256;
  if (weights !== undefined) return { run, step: checkpoint.step, weights };
  throw new CannotError(`start from ${checkpoint.path}`, "want model.safetensors", "it has none");
}

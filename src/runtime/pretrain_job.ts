/**
 * The job "pretrain": goes on with a run of pre-training, to the same bytes as the command line.
 *
 * @module
 */
import { join } from "node:path";
import * as z from "zod";
import { CannotError } from "../config/cannot.ts";
import { RunWriter } from "../run/run_folder.ts";
import { addSample } from "../run/samples.ts";
import { loadTokenizer } from "../tokenizer/file.ts";
import { pretrain, Pretraining, type StepEvent } from "../train/pretrain.ts";
import {
  checkPretrainConfig,
  type PretrainConfig,
  pretrainSchema,
  resolveModel,
} from "../train/pretrain_config.ts";
import { makeTokenizer, prepare, tokenizerFiles, withFullPaths } from "../train/pretrain_data.ts";
import { checkSameBits, logEvent, pretrainVariants, takeBack } from "../train/pretrain_run.ts";
import type { Job, JobPlace } from "./jobs.ts";

const parametersSchema = z.strictObject({
  /** Name of the run. */
  run: z.string(),
  /** Goes on to so many updates, instead of as many as it was begun with. */
  steps: z.int().min(1).optional(),
});

/**
 * Opens the run and takes it back to its last checkpoint.
 *
 * @param parameters `run`, and `steps` to go on to
 * @throws {CannotError} When the run cannot go on here, or another process writes it.
 */
export async function pretrainJob(
  { device, root, turns }: JobPlace,
  parameters: unknown,
): Promise<Job> {
  const { run: name, steps } = parametersSchema.parse(parameters);
  const cleanup = new DisposableStack();
  try {
    const run = await RunWriter.open(root, name);
    cleanup.defer(() => run.close());
    const config = configOf(run, steps);
    const isSaved = (await run.steps()).length > 0;
    const checkpoint = isSaved ? await run.checkpoint("last") : undefined;
    const tokenizer = checkpoint
      ? loadTokenizer(await checkpoint.text("tokenizer.json"))
      : await makeTokenizer(config);
    const data = await prepare(config, tokenizer, join(root, ".data"));
    cleanup.defer(() => data.close());
    const { name: dataName, tokens } = run.info.data[0]!;
    checkSameBits(run, {
      data: [{ name: dataName, sha256: data.info.sha256, tokens }],
      variants: pretrainVariants(device),
    });
    const model = resolveModel(config, tokenizer.vocabSize);
    const files = tokenizerFiles(tokenizer, model);
    const state = await Pretraining.open({
      device,
      config,
      model,
      data,
      tokenizer,
      tokenizerFiles: files,
      checkpoint,
      turns,
    });
    cleanup.defer(() => state.destroy());
    await takeBack(run, checkpoint, withFullPaths(config));
    return {
      events: logged(state, run),
      stop: () => state.stopping = true,
      close: () => cleanup.dispose(),
    };
  } catch (error) {
    cleanup.dispose();
    throw error;
  }
}

function configOf(run: RunWriter, steps: number | undefined): PretrainConfig {
  if (run.info.stage !== "pretrain") {
    throw new CannotError(
      `go on with run "${run.name}"`,
      "want a run of pre-training",
      `its stage is ${run.info.stage}`,
    );
  }
  const began = pretrainSchema.parse(run.info.config);
  const config = { ...began, ...(steps === undefined ? {} : { steps }) };
  checkPretrainConfig(config);
  return config;
}

/** The stage's events, once the run has them. */
async function* logged(state: Pretraining, run: RunWriter): AsyncGenerator<StepEvent, void> {
  for await (const event of pretrain(state, run)) {
    logEvent(run, event);
    if (event.kind === "sample") await addSample(run, event.step, event.text);
    if (event.kind === "saved") await report(run);
    yield event;
  }
}

/** Draws the run as it is now; training goes on without it where that fails. */
async function report(run: RunWriter): Promise<void> {
  try {
    const { writeReport } = await import("../run/report.ts"); // large, and only needed here
    await writeReport(run);
  } catch {
    // The next one, or the command line, draws it again from the metrics.
  }
}

/**
 * The job "reward": trains a version of a reward model on a file of comparisons, and says whether
 * it may take the place of the one that is current. It starts from the weights of `base`, so that a
 * version is a function of these and the data, however many there were before.
 *
 * @module
 */
import * as z from "zod";
import { CannotError } from "../config/cannot.ts";
import type { Device } from "../gpu/device.ts";
import { ActivationPool } from "../gpu/pool.ts";
import type { Turns } from "../gpu/turns.ts";
import { TaskScorer } from "../infer/task_scorer.ts";
import { configFromJson } from "../model/config_json.ts";
import { scoreSpec } from "../model/heads.ts";
import { Weights } from "../model/parameters.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import { RunWriter } from "../run/run_folder.ts";
import { loadTokenizer } from "../tokenizer/file.ts";
import { loadWeights } from "../train/checkpoint.ts";
import { RewardTraining } from "../train/reward.ts";
import { rewardSchema } from "../train/reward_config.ts";
import { loadRewardData, type RewardExample } from "../train/reward_data.ts";
import { type GatePair, type GateResult, judgeCandidate } from "../train/reward_gate.ts";
import { scoresOf } from "../train/reward_score.ts";
import { scoreShape } from "../train/reward_step.ts";
import { dialogueTokenizerFiles } from "../train/sft_data.ts";
import type { Job, JobPlace } from "./jobs.ts";

/** What is trained on what. */
const rewardJobSchema = z.strictObject({
  /** The reward model's run. */
  run: z.string(),
  /** The step that it starts from; else the current one. */
  base: z.int().min(0).optional(),
  /** Comparisons to train on. */
  data: z.string(),
  /** Comparisons that decide. */
  dev: z.string().optional(),
  /** Held-out pairs that are needed to decide. */
  least: z.int().min(1).default(50),
  /** Of training, as `train reward` has them. */
  settings: z.record(z.string(), z.json()).default({}),
});

/** What the job tells. */
export type RewardJobEvent =
  | { readonly kind: "step"; readonly step: number; readonly steps: number }
  | ({ readonly kind: "judged" } & GateResult)
  | { readonly kind: "saved"; readonly step: number };

/** Rows of a batch that is only scored. */
const ROWS = 16;

/**
 * Opens the run and the data.
 *
 * @throws {CannotError} When the run is no reward model, another process writes it, or nothing is
 * left to train on.
 */
export async function rewardJob(
  { device, root, turns }: JobPlace,
  parameters: unknown,
): Promise<Job> {
  const asked = rewardJobSchema.parse(parameters);
  using cleanup = new DisposableStack();
  const run = await RunWriter.open(root, asked.run);
  cleanup.defer(() => run.close());
  if (run.info.stage !== "reward") {
    const state = `its stage is ${run.info.stage}`;
    throw new CannotError(`train run "${run.name}"`, "want a reward model", state);
  }
  const current = await run.checkpoint("current");
  const base = asked.base === undefined ? current : await run.checkpoint(asked.base);
  const model = configFromJson(await base.json("config.json"));
  const tokenizer = loadTokenizer(await base.text("tokenizer.json"));
  const { data, dev, settings } = asked;
  const config = rewardSchema.parse({
    validation: 0,
    skipBad: true,
    ...settings,
    data,
    ...(dev === undefined ? {} : { dev }),
  });
  const maxTokens = Math.min(config.maxTokens ?? model.contextLength, model.contextLength);
  const examples = await loadRewardData(config, { tokenizer, maxTokens });
  const state = await RewardTraining.open({
    device,
    config,
    model,
    data: examples,
    tokenizerFiles: dialogueTokenizerFiles(tokenizer, model),
    padId: tokenizer.specialTokens.get("<|pad|>"),
    parent: base,
    turns,
  });
  cleanup.defer(() => state.destroy());
  loadWeights(device, base, state.weights); // the score of the base too
  const owned = cleanup.move();
  return {
    events: train(state, { device, turns, run, current, dev: examples.dev, least: asked.least }),
    stop: () => state.stopping = true,
    close: () => owned.dispose(),
  };
}

interface Parts extends Pick<JobPlace, "device" | "turns"> {
  readonly run: RunWriter;
  readonly current: Checkpoint;
  readonly dev: readonly RewardExample[];
  readonly least: number;
}

async function* train(
  state: RewardTraining,
  { device, turns, run, current, dev, least }: Parts,
): AsyncGenerator<RewardJobEvent, void> {
  const { totalSteps: steps } = state.plan;
  const check = (results: Awaited<ReturnType<RewardTraining["drain"]>>) => {
    for (const { step, loss, gradNorm, skipped } of results) {
      if (!skipped && Number.isFinite(loss)) continue;
      const found = `loss ${loss}, gradient norm ${gradNorm} at step ${step}`;
      throw new CannotError(`train run "${run.name}"`, "want finite numbers", found);
    }
  };
  while (state.step < steps) {
    if (state.stopping) return; // nothing of it is kept: the next one starts from the base again
    await state.advance();
    check(state.take());
    yield { kind: "step", step: state.step, steps };
  }
  check(await state.drain());
  const rows = dev.flatMap((example) => example.rows);
  const candidate = await state.scores(rows);
  const before = rows.length > 0
    ? await scoresWith({ device, turns }, current, rows)
    : new Float64Array();
  const judged = judgeCandidate(gatePairs(dev, candidate, before), least);
  yield { kind: "judged", ...judged };
  const step = Math.max(...await run.steps(), 0) + steps;
  run.log({
    step,
    "val/pairs": judged.pairs,
    ...(judged.candidateLoss === null ? {} : {
      "val/loss": judged.candidateLoss,
      "val/loss_before": judged.currentLoss!,
      "val/accuracy": judged.candidateAccuracy!,
      "val/accuracy_before": judged.currentAccuracy!,
    }),
  });
  // Old versions stay, so that each can be served again.
  const score = judged.candidateLoss ?? undefined;
  await state.save(run, score, { step, current: false, keep: { last: Infinity } });
  yield { kind: "saved", step };
}

function gatePairs(
  examples: readonly RewardExample[],
  candidate: Float64Array,
  current: Float64Array,
): GatePair[] {
  let at = 0;
  return examples.flatMap(({ rows: { length: K }, weights, key }) => {
    const start = at;
    at += K;
    return weights.flatMap((weight, n) => {
      if (weight === 0) return [];
      const [i, j] = [start + Math.floor(n / K), start + n % K];
      const margin = (scores: Float64Array) => scores[i]! - scores[j]!;
      return [{ prompt: key, candidate: margin(candidate), current: margin(current) }];
    });
  });
}

/** Scores of another checkpoint. */
async function scoresWith(
  { device, turns }: { device: Device; turns: Turns },
  checkpoint: Checkpoint,
  dialogues: readonly Uint32Array[],
): Promise<Float64Array> {
  using cleanup = new DisposableStack();
  const config = configFromJson(await checkpoint.json("config.json"));
  const heads = [scoreSpec(scoreShape(1), config.channels)];
  const weights = new Weights(device, config, { trainable: false, heads });
  cleanup.defer(() => weights.destroy());
  const pool = new ActivationPool(device);
  cleanup.defer(() => pool.destroy());
  const scorer = new TaskScorer(device, weights, scoreShape(ROWS), pool, turns);
  cleanup.defer(() => scorer.destroy());
  loadWeights(device, checkpoint, weights);
  return await scoresOf(scorer, dialogues, { rows: ROWS, contextLength: config.contextLength });
}

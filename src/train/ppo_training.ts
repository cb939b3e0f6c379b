/**
 * Proximal policy optimisation of a policy on the rewards of its own responses, from a run to a
 * run: the third stage of InstructGPT, with its pre-training mix (PPO-ptx).
 *
 * Source: L. Ouyang et al., "Training language models to follow instructions with human feedback",
 * 2022, section 3.5 and appendix C.4.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import type { Device } from "../gpu/device.ts";
import { eventLoopTurn } from "../gpu/event_loop.ts";
import type { Turns } from "../gpu/turns.ts";
import type { Engine } from "../infer/engine.ts";
import type { ModelConfig } from "../model/config.ts";
import type { Checkpoint } from "../run/checkpoint.ts";
import type { RunWriter } from "../run/run_folder.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { episodeLength, learntBatch, type LearntRow } from "./ppo_batches.ts";
import { type PpoConfig, ppoLearningRate } from "./ppo_config.ts";
import type { PpoData, Prompt } from "./ppo_data.ts";
import type { PpoEvent, PpoMetrics } from "./ppo_events.ts";
import { learntRows } from "./ppo_learn.ts";
import { adaptedKlCoef } from "./ppo_math.ts";
import { PpoModels, type ValueStart } from "./ppo_models.ts";
import type { PolicyResult } from "./ppo_policy_step.ts";
import {
  divergences,
  mean,
  ppoEvaluation,
  ppoMetrics,
  sampleTable,
  type ScoredRollout,
} from "./ppo_report.ts";
import type { RewardSource } from "./ppo_reward.ts";
import { answerOf, type Episode, miniBatches, PromptOrder, rollOut } from "./ppo_rollout.ts";
import { PtxText, ptxTokens } from "./ptx_text.ts";
import type { ValueResult } from "./ppo_value_step.ts";

/** What the stage is given. */
export interface PpoOptions {
  /** Where it runs; whoever opened it closes it. */
  readonly device: Device;
  /** Of the stage. */
  readonly config: PpoConfig;
  /** The policy's decoder, with rows for the tokens of its template. */
  readonly model: ModelConfig;
  /** Prompts in tokens. */
  readonly data: Pick<PpoData, "train" | "dev" | "ptx" | "endId">;
  /** Of the policy. */
  readonly tokenizer: Tokenizer;
  /** JSON of tokenizer files that every checkpoint carries. */
  readonly tokenizerFiles: Readonly<Record<string, unknown>>;
  /** The checkpoint that is the reference, and where the policy starts. */
  readonly parent: Checkpoint;
  /** What the value model starts as. */
  readonly value: ValueStart;
  /** Who rewards; the stage does not own it. */
  readonly reward: RewardSource;
  /** Goes on from here; whoever opened it takes the run back to it. */
  readonly checkpoint?: Checkpoint | undefined;
  /** When parts of it may be submitted. @default at once */
  readonly turns?: Turns | undefined;
}

/** What an iteration did. */
export interface Iteration {
  /** Of all of it. */
  readonly metrics: PpoMetrics;
  /** What was written. */
  readonly rollout: ScoredRollout;
  /** Each update. */
  readonly policy: readonly PolicyResult[];
  /** Each update. */
  readonly value: readonly ValueResult[];
}

/** Thrown where the reward could not be had; the cause says why. Nothing has changed then. */
export class RewardFailure extends Error {
  /** With what the source threw. */
  constructor(cause: unknown) {
    super("Cannot reward responses", { cause });
  }
}

/** Choice numbers of evaluations: no episode of training has them. */
const EVALUATION_CHOICES = 2 ** 31;

/** Everything that an iteration changes. */
export class Ppo {
  /** As they were given. */
  readonly options: PpoOptions;
  /** Weights, moments and plans. */
  readonly models: PpoModels;
  /** Iterations done. */
  step = 0;
  /** Weight of the divergence, as it was adapted. */
  klCoef: number;
  /** Asks the stage to save and end after the iteration under way. */
  stopping = false;
  readonly #prompts: PromptOrder;
  readonly #text: PtxText | undefined;
  #before: ScoredRollout | undefined;

  private constructor(options: PpoOptions, models: PpoModels) {
    const { config, data } = options;
    this.options = options;
    this.models = models;
    this.klCoef = config.klCoef;
    this.#prompts = new PromptOrder(data.train.length, config.seed);
    this.#text = data.ptx && new PtxText(data.ptx.train, config, options.model);
  }

  /**
   * Loads policy and reference of the parent beside a value model, or a checkpoint of the stage.
   *
   * @throws {CannotError} When a checkpoint is of another model, or the value model's context is
   * too short.
   */
  static async open(options: PpoOptions): Promise<Ppo> {
    const { device, config, model, parent, value, data, checkpoint, turns } = options;
    const longest = Math.max(...data.train.map(({ ids }) => ids.length)) + config.responseTokens;
    if (value.model.contextLength < longest) {
      throw new CannotError(
        "start a value model from the reward model",
        `want a context of ${longest} tokens, the longest prompt and a response`,
        `it has ${value.model.contextLength}`,
      );
    }
    const ptx = data.ptx && {
      rows: config.microRows ?? config.miniRows,
      T: ptxTokens(config, model),
      coef: config.ptxCoef,
    };
    const models = await PpoModels.create({ device, config, model, parent, value, ptx, turns });
    const state = new Ppo(options, models);
    try {
      if (checkpoint) {
        const { step, klCoef } = await models.load(checkpoint);
        state.step = step;
        state.klCoef = klCoef;
      } else models.start();
    } catch (error) {
      state.destroy();
      throw error;
    }
    return state;
  }

  /** Held-out prompts of an evaluation. */
  get heldOut(): readonly Prompt[] {
    return this.options.data.dev.slice(0, this.options.config.evalRows);
  }

  /** Updates of an iteration. */
  get updates(): number {
    const { ppoEpochs, batchRows, miniRows } = this.options.config;
    return ppoEpochs * batchRows / miniRows;
  }

  /**
   * One iteration: rollout, scores, updates. Undefined where it was asked to stop before the first
   * update: nothing has changed then, and the same rollout comes again.
   *
   * @throws {CannotError} When the reward cannot be had; nothing has changed then either.
   */
  async *iterate(): AsyncGenerator<PpoEvent, Iteration | undefined> {
    const { config, data } = this.options;
    const rows = config.batchRows;
    const first = this.step * rows;
    const prompts = Array.from(
      { length: rows },
      (_, i) => data.train[this.#prompts.at(first + i)]!,
    );
    const startMs = performance.now();
    const options = { firstChoice: first, canStop: true };
    const episodes = yield* this.#write(this.models.engine, prompts, options);
    const writtenMs = performance.now();
    if (!episodes || this.stopping) return undefined;
    const rollout = yield* this.#score(episodes);
    const values = yield* this.#values(episodes);
    const scoredMs = performance.now();
    if (this.stopping) return undefined;
    const about = { config, klCoef: this.klCoef, bias: this.options.value.bias };
    const learnt = learntRows(rollout, values, about);
    const { policy, value } = yield* this.#update(learnt);
    const times = {
      rolloutMs: writtenMs - startMs,
      scoringMs: scoredMs - writtenMs,
      updateMs: performance.now() - scoredMs,
    };
    const metrics = ppoMetrics(rollout, policy, value, {
      episode: first + rows,
      klCoef: this.klCoef,
      lr: policy[0]!.lr,
      times,
    });
    if (config.klTarget !== undefined) {
      const control = { target: config.klTarget, horizon: config.klHorizon, episodes: rows };
      this.klCoef = adaptedKlCoef(this.klCoef, mean(divergences(rollout), (kl) => kl), control);
    }
    this.models.engine.forget();
    this.step++;
    return { metrics, rollout, policy, value };
  }

  /** Writes responses; undefined where it may be stopped in the middle, and was. */
  async *#write(
    engine: Engine,
    prompts: readonly Prompt[],
    { firstChoice, canStop }: { firstChoice: number; canStop: boolean },
  ): AsyncGenerator<PpoEvent, Episode[] | undefined> {
    const { config, data: { endId }, tokenizer } = this.options;
    const { responseTokens, seed } = config;
    const options = { responseTokens, endId, seed, firstChoice };
    const writing = rollOut(engine, tokenizer, prompts, options);
    for (;;) {
      const { done, value } = await writing.next();
      if (done) return value;
      yield { kind: "rollout", step: this.step, ended: value, episodes: prompts.length };
      if (!canStop || !this.stopping) continue;
      // Nothing is lost: the same rollout comes again.
      await writing.return([]);
      return undefined;
    }
  }

  async *#score(episodes: readonly Episode[]): AsyncGenerator<PpoEvent, ScoredRollout> {
    const { config, reward } = this.options;
    const scoring = this.models.referenceScorer.run(episodes);
    const reference = yield* this.#counted(scoring, episodes.length);
    const rewards = await reward.score(episodes.map(answerOf)).catch((error) => {
      throw new RewardFailure(error);
    });
    const scores = rewards.map((score, i) =>
      episodes[i]!.ended ? score : score - config.missingEndPenalty
    );
    return { episodes, reference, scores };
  }

  async *#values(episodes: readonly Episode[]): AsyncGenerator<PpoEvent, Float64Array[]> {
    const scoring = this.models.valueScorer.run(episodes);
    const raw = yield* this.#counted(scoring, episodes.length);
    const { bias } = this.options.value;
    return raw.map((row) => row.map((value) => value + bias));
  }

  async *#counted<T>(
    scoring: AsyncGenerator<number, T>,
    episodes: number,
  ): AsyncGenerator<PpoEvent, T> {
    for (;;) {
      const { done, value } = await scoring.next();
      if (done) return value;
      yield { kind: "scoring", step: this.step, done: value, episodes };
    }
  }

  async *#update(
    learnt: readonly LearntRow[],
  ): AsyncGenerator<PpoEvent, { policy: PolicyResult[]; value: ValueResult[] }> {
    const { config } = this.options;
    const { policyStep, valueStep, average } = this.models;
    const { miniRows: rows, ppoEpochs, warmupIterations, seed } = config;
    const lr = ppoLearningRate(config.lr, warmupIterations, this.step);
    const valueLr = ppoLearningRate(config.valueLr ?? config.lr, warmupIterations, this.step);
    const policy: PolicyResult[] = [];
    const value: ValueResult[] = [];
    let update = this.step * this.updates;
    for (let epoch = 0; epoch < ppoEpochs; epoch++) {
      const pass = this.step * ppoEpochs + epoch;
      for (const mini of miniBatches(learnt.length, { rows, seed, pass })) {
        const batches = this.#batches(mini.map((i) => learnt[i]!));
        await policyStep.run(update, batches, lr, this.#text?.batches(update));
        await average.update();
        await valueStep.run(update, batches, valueLr);
        policy.push(...policyStep.take());
        value.push(...valueStep.take());
        update++;
        const done = update - this.step * this.updates;
        yield { kind: "update", step: this.step, update: done, updates: this.updates };
        await eventLoopTurn();
      }
    }
    policy.push(...await policyStep.drain());
    value.push(...await valueStep.drain());
    return { policy, value };
  }

  #batches(rows: readonly LearntRow[]) {
    const { config, model } = this.options;
    const R = config.microRows ?? config.miniRows;
    const T = episodeLength(rows, model.contextLength);
    return Array.from(
      { length: Math.ceil(rows.length / R) },
      (_, i) => learntBatch(rows.slice(i * R, (i + 1) * R), { R, T }),
    );
  }

  /** Held-out prompts, answered by the weights that are served, and by the reference. */
  async *evaluate(): AsyncGenerator<PpoEvent, { score: number }> {
    const { models } = this;
    this.#before ??= yield* this.#answers(models.reference);
    const isNew = this.step > 0;
    const after = isNew ? yield* this.#answers(models.average.weights) : this.#before;
    const metrics = ppoEvaluation(after);
    yield { kind: "evaluation", step: this.step, metrics };
    const { sampleRows } = this.options.config;
    if (isNew && sampleRows > 0) {
      const text = sampleTable(this.#before, after, sampleRows);
      yield { kind: "sample", step: this.step, text };
    }
    return { score: -metrics["eval/scores"] };
  }

  async *#answers(weights: PpoModels["policy"]): AsyncGenerator<PpoEvent, ScoredRollout> {
    const engine = this.models.engineOf(weights, this.heldOut.length);
    try {
      const options = { firstChoice: EVALUATION_CHOICES, canStop: false };
      const episodes = yield* this.#write(engine, this.heldOut, options);
      return yield* this.#score(episodes!);
    } finally {
      engine.destroy();
    }
  }

  /** Saves all that a resume needs; the metrics so far belong to it. */
  async save(run: RunWriter, score: number | undefined): Promise<void> {
    const { config, tokenizerFiles } = this.options;
    await run.save({
      step: this.step,
      score,
      keep: { last: config.keep, best: true },
      files: this.models.files({ step: this.step, klCoef: this.klCoef }, tokenizerFiles),
    });
  }

  /** Gives the GPU's memory back. */
  destroy(): void {
    this.models.destroy();
  }
}

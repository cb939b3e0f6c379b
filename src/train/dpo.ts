/**
 * Direct preference optimisation: a policy learns from comparisons, from a run to a run, without a
 * reward model. The run that it starts from is the reference; its log-probabilities are computed
 * once, and every checkpoint carries them.
 *
 * Source: R. Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a
 * Reward Model", 2023.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import { paddedLength } from "../data/task_batches.ts";
import type { Device } from "../gpu/device.ts";
import type { ModelConfig } from "../model/config.ts";
import { Weights } from "../model/parameters.ts";
import type { Checkpoint, CheckpointFile } from "../run/checkpoint.ts";
import type { RunWriter } from "../run/run_folder.ts";
import { loadTrainerState, trainerFiles } from "./checkpoint.ts";
import { type DpoBatch, dpoBatch, type DpoExample } from "./dpo_batches.ts";
import type { DpoConfig } from "./dpo_config.ts";
import { type DpoResult, DpoStep } from "./dpo_step.ts";
import { type EpochEvaluation, EpochPlan, type EpochStage } from "./epochs.ts";
import { loadGrown } from "./grow.ts";
import type { RewardData, RewardExample } from "./reward_data.ts";
import { type Agreements, agreements } from "./reward_score.ts";
import type { RewardShape } from "./reward_step.ts";
import { SequenceScorer } from "./sequence_scorer.ts";

/** What an evaluation found; its loss is a mean over prompts. */
export type DpoEvaluation = EpochEvaluation & Agreements & {
  /** Mean reward of better sides, over pairs. */
  readonly chosen: number;
  /** That of worse sides. */
  readonly rejected: number;
  /** Held-out prompts. */
  readonly prompts: number;
};

/** What the stage is given. */
export interface DpoOptions {
  /** Where it runs; whoever opened it closes it. */
  readonly device: Device;
  /** Of the stage. */
  readonly config: DpoConfig;
  /** The decoder, with rows for the tokens of a dialogue. */
  readonly model: ModelConfig;
  /** Comparisons in tokens. */
  readonly data: Pick<RewardData, "train" | "dev" | "responses">;
  /** JSON of tokenizer files that every checkpoint carries. */
  readonly tokenizerFiles: Readonly<Record<string, unknown>>;
  /** The checkpoint that it starts from, and that is the reference. */
  readonly parent?: Checkpoint | undefined;
  /** Goes on from here; whoever opened it takes the run back to it. */
  readonly checkpoint?: Checkpoint | undefined;
}

/** Rows of an evaluation's batch. */
const EVALUATION_ROWS = 16;
/** The reference's log-probabilities, as a checkpoint carries them. */
const REFERENCE = "trainer/reference.safetensors";

/** Everything that a step changes: weights, moments and the step itself. */
export class Dpo implements EpochStage<DpoResult, DpoEvaluation> {
  /** As they were given. */
  readonly options: DpoOptions;
  /** Of the stage. */
  readonly config: DpoConfig;
  /** What is trained. */
  readonly weights: Weights;
  /** Steps and epochs. */
  readonly plan: EpochPlan;
  /** Updates done. */
  step = 0;
  /** Asks the stage to save and end after the step under way. */
  stopping = false;
  readonly #stepper: DpoStep;
  readonly #scorer: SequenceScorer;
  /** Log-probabilities of all responses under the reference, one after the other. */
  #reference: Record<"train" | "dev", Float32Array> = {
    train: new Float32Array(0),
    dev: new Float32Array(0),
  };
  #train: readonly DpoExample[] = [];

  private constructor(options: DpoOptions, weights: Weights, stepper: DpoStep) {
    const { config, data, device } = options;
    this.options = options;
    this.config = config;
    this.weights = weights;
    this.plan = new EpochPlan(data.train.map(({ length }) => length), config);
    this.#stepper = stepper;
    this.#scorer = new SequenceScorer(device, weights, EVALUATION_ROWS, stepper.inner.pool);
  }

  /**
   * Loads the parent's decoder, and computes what it says of all responses; or a checkpoint of the
   * stage itself.
   *
   * @throws {CannotError} When a checkpoint is of another model or other data, or there is none.
   */
  static async open(options: DpoOptions): Promise<Dpo> {
    const { device, config, model, checkpoint, parent, data } = options;
    if (!checkpoint && !parent) {
      throw new CannotError("train dpo", "want a checkpoint as the reference", "there is none");
    }
    const weights = new Weights(device, model, { trainable: true });
    const stepper = await DpoStep.create(device, weights, {
      shape: microShape(options),
      settings: config,
      beta: config.beta,
      dropout: config.dropout,
      seed: config.seed,
    });
    const state = new Dpo(options, weights, stepper);
    try {
      if (checkpoint) {
        state.step = (await loadTrainerState(device, checkpoint, stepper.inner)).step;
        state.#reference = readReference(checkpoint, data);
      } else {
        loadGrown(device, parent!, weights, config.seed);
        state.#reference = {
          train: await state.#logps(data.train),
          dev: await state.#logps(data.dev),
        };
      }
      state.#train = withReference(data.train, state.#reference.train);
    } catch (error) {
      state.destroy();
      throw error;
    }
    return state;
  }

  /** Prompts that are held out. */
  get heldOut(): number {
    return this.options.data.dev.length;
  }

  /** Queues the next update. */
  async advance(): Promise<void> {
    await this.#stepper.run(this.step, this.batches(this.step), this.plan.learningRate(this.step));
    this.step++;
  }

  /** The micro-batches of a step; a function of the seed and the step. */
  batches(step: number): DpoBatch[] {
    const { model } = this.options;
    const examples = this.plan.examples(step).map((i) => this.#train[i]!);
    const longest = Math.max(...examples.map(({ length }) => length));
    const { prompts: E, responses: K } = microShape(this.options);
    const shape = { E, K, T: paddedLength(longest, model.contextLength) };
    const batches: DpoBatch[] = [];
    for (let start = 0; start < examples.length; start += E) {
      batches.push(dpoBatch(examples.slice(start, start + E), shape));
    }
    return batches;
  }

  /** Results that have arrived, in order, without waiting. */
  take(): DpoResult[] {
    return this.#stepper.take();
  }

  /** Waits for the results of all queued steps. */
  drain(): Promise<DpoResult[]> {
    return this.#stepper.drain();
  }

  /** Loss and rewards over all comparisons that are held out. */
  async evaluate(): Promise<DpoEvaluation> {
    const { dev } = this.options.data;
    const logps = await this.#logps(dev);
    const reference = this.#reference.dev;
    const rewards = Float64Array.from(
      logps,
      (logp, i) => this.config.beta * (logp - reference[i]!),
    );
    let at = 0;
    const own = dev.map(({ rows }) => rewards.subarray(at, at += rows.length));
    return {
      kind: "evaluation",
      step: this.step,
      ...agreements(dev, own),
      ...sides(dev, own),
      prompts: dev.length,
    };
  }

  #logps(examples: readonly RewardExample[]): Promise<Float32Array> {
    return this.#scorer.run(
      examples.flatMap(({ rows, promptTokens }) => rows.map((ids) => ({ ids, promptTokens }))),
    );
  }

  /** Saves all that a resume needs; the metrics so far belong to it. */
  async save(run: RunWriter, score: number | undefined): Promise<void> {
    const { device, config, tokenizerFiles } = this.options;
    const state = { step: this.step, cursor: null };
    const files = trainerFiles(device, this.#stepper.inner, state, tokenizerFiles);
    await run.save({
      step: this.step,
      score,
      keep: { last: config.keep, best: true },
      files: [...files, referenceFile(this.#reference)],
    });
  }

  /** Gives the GPU's memory back. */
  destroy(): void {
    this.#scorer.destroy();
    this.#stepper.destroy();
    this.weights.destroy();
  }
}

function microShape({ config, data }: DpoOptions): RewardShape {
  return { prompts: config.microRows ?? config.batchRows, responses: data.responses };
}

function withReference(
  examples: readonly RewardExample[],
  reference: Float32Array,
): DpoExample[] {
  let at = 0;
  return examples.map((example) => ({
    ...example,
    reference: reference.subarray(at, at += example.rows.length),
  }));
}

/** Mean rewards of better and of worse sides, over pairs. */
function sides(
  examples: readonly RewardExample[],
  rewards: readonly ArrayLike<number>[],
): { chosen: number; rejected: number } {
  let [chosen, rejected, pairs] = [0, 0, 0];
  examples.forEach(({ rows: { length: K }, weights }, e) => {
    weights.forEach((weight, n) => {
      if (weight === 0) return;
      chosen += rewards[e]![Math.floor(n / K)]!;
      rejected += rewards[e]![n % K]!;
      pairs++;
    });
  });
  return { chosen: chosen / pairs, rejected: rejected / pairs };
}

function referenceFile(reference: Record<"train" | "dev", Float32Array>): CheckpointFile {
  const tensors = (["dev", "train"] as const).filter((name) => reference[name].length > 0)
    .map((name) => ({
      name,
      dtype: "f32" as const,
      shape: [reference[name].length],
      bytes: () => reference[name],
    }));
  return { path: REFERENCE, tensors };
}

/** @throws {CannotError} When it is of other data. */
function readReference(
  checkpoint: Checkpoint,
  data: Pick<RewardData, "train" | "dev">,
): Record<"train" | "dev", Float32Array> {
  const file = checkpoint.tensors(REFERENCE);
  try {
    const part = (name: "train" | "dev") => {
      const want = data[name].reduce((sum, { rows }) => sum + rows.length, 0);
      if (want === 0) return new Float32Array(0);
      const values = file.floats(name);
      if (values.length === want) return values;
      const act = `go on from ${checkpoint.path}`;
      throw new CannotError(act, `want ${want} responses in "${name}"`, `it has ${values.length}`);
    };
    return { train: part("train"), dev: part("dev") };
  } finally {
    file.close();
  }
}

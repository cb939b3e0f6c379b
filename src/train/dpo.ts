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
import { Weights } from "../model/parameters.ts";
import type { Checkpoint, CheckpointFile } from "../run/checkpoint.ts";
import { type DpoBatch, dpoBatch, type DpoExample } from "./dpo_batches.ts";
import type { DpoConfig } from "./dpo_config.ts";
import { type DpoResult, DpoStep } from "./dpo_step.ts";
import { EpochTraining, type EpochTrainingOptions } from "./epoch_training.ts";
import type { EpochEvaluation } from "./epochs.ts";
import { comparisonBatches } from "./reward_batches.ts";
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
export interface DpoOptions extends EpochTrainingOptions {
  /** Of the stage. */
  readonly config: DpoConfig;
  /** Comparisons in tokens. */
  readonly data: Pick<RewardData, "train" | "dev" | "responses">;
  /** The checkpoint that it starts from, and that is the reference. */
  readonly parent?: Checkpoint | undefined;
}

/** Rows of an evaluation's batch. */
const EVALUATION_ROWS = 16;
/** The reference's log-probabilities, as a checkpoint carries them. */
const REFERENCE = "trainer/reference.safetensors";

/** The stage under way. */
export class Dpo extends EpochTraining<DpoOptions, DpoBatch, DpoResult, DpoEvaluation> {
  readonly #scorer: SequenceScorer;
  /** Log-probabilities of all responses under the reference, one after the other. */
  #reference: Record<"train" | "dev", Float32Array> = {
    train: new Float32Array(0),
    dev: new Float32Array(0),
  };
  #train: readonly DpoExample[] = [];

  private constructor(options: DpoOptions, stepper: DpoStep) {
    super(options, stepper, options.data.train.map(({ length }) => length));
    const { weights, pool } = stepper.inner;
    this.#scorer = new SequenceScorer(options.device, weights, EVALUATION_ROWS, pool);
  }

  /**
   * Loads the parent's decoder, and computes what it says of all responses; or a checkpoint of the
   * stage itself.
   *
   * @throws {CannotError} When a checkpoint is of another model or other data, or there is none.
   */
  static async open(options: DpoOptions): Promise<Dpo> {
    const { device, config, model, checkpoint, parent } = options;
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
    return await new Dpo(options, stepper).loaded();
  }

  /** Loads, too, what the reference says of all responses, or has it say it. */
  protected override async load(): Promise<void> {
    await super.load();
    const { checkpoint, data } = this.options;
    this.#reference = checkpoint
      ? readReference(checkpoint, data)
      : { train: await this.#logps(data.train), dev: await this.#logps(data.dev) };
    this.#train = withReference(data.train, this.#reference.train);
  }

  /** The micro-batches of a step; a function of the seed and the step. */
  override batches(step: number): DpoBatch[] {
    const examples = this.plan.examples(step).map((i) => this.#train[i]!);
    const { contextLength } = this.options.model;
    return comparisonBatches(examples, microShape(this.options), contextLength, dpoBatch);
  }

  /** Loss and rewards over all comparisons that are held out. */
  override async evaluate(): Promise<DpoEvaluation> {
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

  /** What a checkpoint holds, the reference's log-probabilities among it. */
  protected override files(): CheckpointFile[] {
    return [...super.files(), referenceFile(this.#reference)];
  }

  /** Gives the GPU's memory back. */
  override destroy(): void {
    this.#scorer.destroy();
    super.destroy();
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

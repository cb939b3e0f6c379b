/**
 * Training by epochs: which examples a step has, and the loop around the steps of a stage.
 *
 * @module
 */
import { eventLoopTurn } from "../gpu/event_loop.ts";
import { epochOrder, stepsPerEpoch } from "../data/task_batches.ts";
import { PhiloxStream } from "../random/philox.ts";
import type { RunWriter } from "../run/run_folder.ts";
import type { EpochConfig } from "./epoch_config.ts";
import { epochLearningRate } from "./epoch_config.ts";
import { type Health, healthy, stopUnhealthy } from "./health.ts";

/** Which examples the steps of a run have: a function of lengths, seed and step alone. */
export class EpochPlan {
  /** Updates of an epoch. */
  readonly epochSteps: number;
  /** Updates of the whole run. */
  readonly totalSteps: number;
  readonly #lengths: readonly number[];
  readonly #config: EpochConfig;
  #order: { epoch: number; steps: number[][] } | undefined;

  /** For examples of these lengths. */
  constructor(lengths: readonly number[], config: EpochConfig) {
    this.#lengths = lengths;
    this.#config = config;
    this.epochSteps = stepsPerEpoch(lengths.length, config.batchRows);
    this.totalSteps = config.epochs * this.epochSteps;
  }

  /** Indices of a step's examples, which are of like length. */
  examples(step: number): readonly number[] {
    const epoch = Math.floor(step / this.epochSteps);
    if (this.#order?.epoch !== epoch) {
      const { batchRows: rows, seed } = this.#config;
      this.#order = { epoch, steps: epochOrder(this.#lengths, { rows, seed, epoch }) };
    }
    return this.#order.steps[step % this.epochSteps]!;
  }

  /** Learning rate of a step. */
  learningRate(step: number): number {
    return epochLearningRate(this.#config, step, this.totalSteps);
  }
}

/** An evaluation, as far as the loop has to know it. */
export interface EpochEvaluation {
  /** Tells events apart. */
  readonly kind: "evaluation";
  /** Updates done. */
  readonly step: number;
  /** Of what is held out; checkpoints are compared by it, lower is better. */
  readonly loss: number;
  /** What checkpoints are compared by in its place; lower is better. */
  readonly score?: number | undefined;
}

/** A stage whose steps the loop drives. */
export interface EpochStage<R extends Health, E extends EpochEvaluation> {
  /** Of the stage. */
  readonly config: EpochConfig;
  /** Steps and epochs. */
  readonly plan: EpochPlan;
  /** Updates done. */
  readonly step: number;
  /** Asks the stage to save and end after the step under way. */
  stopping: boolean;
  /** Examples that are held out. */
  readonly heldOut: number;
  /** Queues the next update. */
  advance(): Promise<void>;
  /** Results that have arrived, in order, without waiting. */
  take(): R[];
  /** Waits for the results of all queued steps. */
  drain(): Promise<R[]>;
  /** Over all examples that are held out. */
  evaluate(): Promise<E>;
  /** Saves all that a resume needs. */
  save(run: RunWriter, score: number | undefined): Promise<void>;
}

/** What a stage reports while it goes on. */
export type EpochEvent<R extends Health, E extends EpochEvaluation> =
  | ({ readonly kind: "step" } & R)
  | E
  | { readonly kind: "saved"; readonly step: number };

/**
 * Trains for all epochs, or until asked to stop; yields what happened, a few steps late. The last
 * checkpoint is always evaluated.
 *
 * @throws {CannotError} When a loss or a gradient is no number: the last checkpoint stays.
 */
export async function* runEpochs<R extends Health, E extends EpochEvaluation>(
  stage: EpochStage<R, E>,
  run: RunWriter,
): AsyncGenerator<EpochEvent<R, E>> {
  const { config, plan } = stage;
  const start = stage.step;
  const isDue = (every: number) => stage.step % (every || plan.epochSteps) === 0;
  for (;;) {
    const finished = stage.step >= plan.totalSteps;
    const last = finished || stage.stopping;
    const advanced = stage.step > start;
    // What was due where a resumed run begins was done before its checkpoint was saved.
    const evaluates = (advanced || start === 0) && stage.heldOut > 0 &&
      (finished || isDue(config.evalEvery));
    const saves = advanced && (last || isDue(config.saveEvery));
    if (evaluates || saves) {
      yield* healthy(await stage.drain(), run);
      let score: number | undefined;
      if (evaluates) {
        const event = await stage.evaluate();
        if (!Number.isFinite(event.loss)) {
          await stopUnhealthy(run, event.step, `loss ${event.loss}`);
        }
        score = event.score ?? event.loss;
        yield event;
      }
      if (saves) {
        await stage.save(run, score);
        yield { kind: "saved", step: stage.step };
      }
    }
    if (last) return;
    const isFirst = stage.step === start;
    await stage.advance();
    // The first one compiles every kernel: waiting for it keeps that out of the others' time.
    yield* healthy(isFirst ? await stage.drain() : stage.take(), run);
    // Results arrive as events: let them in.
    await eventLoopTurn();
  }
}

/** Stream ids below one seed; no other part of the program uses these. */
const HOLD_STREAM = 0x686f6c64; // "hold"
const LIMIT_STREAM = 0x6c696d31; // "lim1"

/**
 * Divides examples into those to train on and those held out, all examples of one prompt on one
 * side. The held-out part is the same for every seed.
 *
 * @param keyOf what two examples of one prompt have in common
 * @param fraction share of the examples to hold out
 */
export function holdOut<T>(
  examples: readonly T[],
  keyOf: (example: T) => string,
  fraction: number,
): { train: T[]; dev: T[] } {
  const keys = examples.map(keyOf);
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  const most = Math.round(fraction * examples.length);
  const held = new Set<string>();
  let room = most;
  for (const key of new PhiloxStream(0, HOLD_STREAM).shuffle([...counts.keys()])) {
    const count = counts.get(key)!;
    if (count > room) continue;
    held.add(key);
    room -= count;
  }
  const part = (isHeld: boolean) => examples.filter((_, i) => held.has(keys[i]!) === isHeld);
  return { train: part(false), dev: part(true) };
}

/** So many of the examples, in their order; 0 is all. */
export function limited<T>(
  examples: readonly T[],
  { limit, seed }: Pick<EpochConfig, "limit" | "seed">,
): readonly T[] {
  if (limit === 0 || limit >= examples.length) return examples;
  const order = new PhiloxStream(seed, LIMIT_STREAM).shuffle(examples.map((_, i) => i));
  const chosen = new Set(order.slice(0, limit));
  return examples.filter((_, i) => chosen.has(i));
}

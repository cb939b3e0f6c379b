/**
 * The loop from feedback to the models that are served: comparisons retrain the reward model beside
 * the texts, a new version takes over when held-out feedback says that it is not worse, and
 * policies go on from there. Every change is in the audit list, and none is final: the versions
 * before stay.
 *
 * @module
 */
import { join } from "node:path";
import { CannotError } from "../config/cannot.ts";
import type { FeedbackStore } from "../feedback/feedback_store.ts";
import {
  type Snapshot,
  snapshotComparisons,
  snapshotCorrections,
  type SnapshotOptions,
  snapshotPrompts,
} from "../feedback/snapshot.ts";
import type { TrustedData } from "../feedback/trusted_data.ts";
import type { AuditLog } from "../run/audit.ts";
import type { JobEvent, JobInfo } from "./jobs.ts";
import { removeRejected } from "./rejected_versions.ts";
import type { Runtime, ServedModel } from "./runtime.ts";

/** What can be trained on feedback. */
export const TRAINING_STAGES = ["reward", "sft", "ppo"] as const;

/** One of {@linkcode TRAINING_STAGES}. */
export type TrainingStage = typeof TRAINING_STAGES[number];

/** What the loop needs of a runtime with jobs. */
export interface LoopRuntime extends Pick<Runtime, "models" | "swap"> {
  /** Puts a job into the queue. */
  startJob(kind: string, parameters: unknown): Promise<JobInfo>;
  /** Waits until a job has ended. */
  jobEnded(id: number): Promise<JobInfo>;
  /** Tells of every change and event of every job. @returns what stops it */
  onJob(listener: (info: JobInfo, events: readonly JobEvent[]) => void): () => void;
}

/** How a loop is made. */
export interface LoopOptions {
  /** Trains and serves. */
  readonly runtime: LoopRuntime;
  /** Where feedback is. */
  readonly store: FeedbackStore;
  /** What of it can be trusted. */
  readonly trusted: Pick<TrustedData, "read">;
  /** Folder of all runs. */
  readonly root: string;
  /** Where changes are written down. */
  readonly audit: AuditLog;
  /** Run of the reward model. */
  readonly rewardRun: string;
  /** Run of the policy that goes on from feedback. */
  readonly policyRun: string;
  /** New pairs after which the reward model is trained by itself; 0: only when it is asked for. */
  readonly after: number;
  /** Held-out pairs that are needed to decide. */
  readonly least: number;
  /** Reward models that did not take over: so many of the last ones stay. */
  readonly keepRejected: number;
  /** Settings of each stage, over its defaults. */
  readonly settings: Readonly<Partial<Record<TrainingStage, Readonly<Record<string, unknown>>>>>;
  /** Told of what nobody waits for. */
  readonly failed: (error: unknown) => void;
}

/** One training, from its data to what became of it. */
export interface TrainingRound {
  /** Counted from 1 since the server was started. */
  readonly id: number;
  /** What is trained. */
  readonly stage: TrainingStage;
  /** Run that gets a version. */
  readonly run: string;
  /** Who asked: `feedback`, or whoever sent the request. */
  readonly by: string;
  /** When it began, ISO 8601. */
  readonly started: string;
  /** Where it is. */
  state: "running" | "done" | "failed";
  /** What it was trained on. */
  data?: Snapshot;
  /** The last that its job told. */
  progress?: unknown;
  /** What held-out feedback says, of reward models. */
  judged?: Readonly<Record<string, unknown>>;
  /** Step of the version that it made. */
  step?: number;
  /** Whether that version is served now. */
  swapped?: boolean;
  /** Why it failed. */
  error?: string;
}

/** How it stands. */
export interface LoopState {
  /** Pairs that came since the reward model was last trained. */
  readonly newPairs: number;
  /** After so many it is trained by itself; 0: never. */
  readonly after: number;
  /** The latest rounds, the newest first. */
  readonly rounds: readonly TrainingRound[];
}

const POLL_MS = 500;
const MOST_ROUNDS = 100;

/** Rounds of training, one at a time. */
export class FeedbackLoop {
  readonly #options: LoopOptions;
  readonly #rounds: TrainingRound[] = [];
  #running: Promise<void> | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** Changes to the data that the reward model was last trained after. */
  #trained = 0;
  /** The version that rounds start from. */
  #base: number | undefined;
  #count = 0;

  private constructor(options: LoopOptions) {
    this.#options = options;
  }

  /** Finds out where it was left, and looks for new feedback from now on. */
  static async start(options: LoopOptions): Promise<FeedbackLoop> {
    const loop = new FeedbackLoop(options);
    const known = (await options.audit.list(10_000)).filter(({ event, run, detail }) =>
      event === "training.ended" && run === options.rewardRun && detail.stage === "reward"
    );
    loop.#trained = Number(known[0]?.detail.dataset_version ?? 0);
    const base = known.at(-1)?.detail.base;
    loop.#base = typeof base === "number" ? base : undefined;
    if (options.after > 0) loop.#timer = setInterval(() => loop.#look(), POLL_MS);
    return loop;
  }

  /** How it stands. */
  state(): LoopState {
    const { store, after } = this.#options;
    return {
      newPairs: store.pairsAfter(this.#trained),
      after,
      rounds: this.#rounds.toReversed(),
    };
  }

  /**
   * Begins a round.
   *
   * @param settings over those of the server
   * @throws {CannotError} When one is running.
   */
  begin(
    stage: TrainingStage,
    by: string,
    settings: Readonly<Record<string, unknown>> = {},
  ): TrainingRound {
    if (this.#running) {
      throw new CannotError("train on feedback", "want one training at a time", "one is running");
    }
    const { rewardRun, policyRun } = this.#options;
    const round: TrainingRound = {
      id: ++this.#count,
      stage,
      run: stage === "reward" ? rewardRun : policyRun,
      by,
      started: new Date().toISOString(),
      state: "running",
    };
    this.#rounds.push(round);
    if (this.#rounds.length > MOST_ROUNDS) this.#rounds.shift();
    this.#running = this.#run(round, settings)
      .catch((error) => {
        round.state = "failed";
        round.error = error instanceof Error ? error.message : String(error);
        this.#options.failed(error);
      })
      .then(() => this.#note(round, "training.ended"))
      .then(() => this.#tidy(round))
      .catch((error) => this.#options.failed(error))
      .finally(() => this.#running = undefined);
    return round;
  }

  /** Waits for the round under way. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** Looks no more; a round under way goes on. */
  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    if (this.#running) return;
    try {
      if (this.#options.store.pairsAfter(this.#trained) < this.#options.after) return;
      this.begin("reward", "feedback");
    } catch (error) {
      this.#options.failed(error);
    }
  }

  async #run(round: TrainingRound, settings: Readonly<Record<string, unknown>>): Promise<void> {
    const { runtime, settings: own } = this.#options;
    const current = this.#model(round.run);
    if (round.stage === "reward") this.#base ??= current.step;
    const data = await this.#snapshot(round.stage);
    round.data = data;
    if (round.stage === "reward") this.#trained = data.datasetVersion;
    this.#note(round, "training.started");
    if (!data.train) {
      throw new CannotError("train on feedback", "want feedback to train on", "there is none");
    }
    const job = await runtime.startJob(
      round.stage === "reward" ? "reward" : "policy",
      this.#parameters(round, data, { ...own[round.stage], ...settings }),
    );
    const stop = runtime.onJob((info, events) => {
      if (info.id === job.id) { for (const event of events) hear(round, event); }
    });
    try {
      const { state, error } = await runtime.jobEnded(job.id);
      if (state !== "done") throw new Error(error ?? `the job was ${state}`);
    } finally {
      stop();
    }
    const isBetter = round.stage !== "reward" || round.judged?.verdict === "not_worse";
    round.swapped = isBetter && round.step !== undefined;
    if (round.swapped) await this.#serve(round, current);
    round.state = "done";
  }

  async #serve(round: TrainingRound, before: ServedModel): Promise<void> {
    const { runtime, audit } = this.#options;
    const model = await runtime.swap(round.run, round.step);
    audit.append({
      event: "version.served",
      run: round.run,
      by: `training ${round.id}`,
      detail: { from: before.step, to: model.step, weights: model.weightsHash },
    });
  }

  /** Removes what was rejected long ago; the runtime then reads the run's versions again. */
  async #tidy({ id, stage, run }: TrainingRound): Promise<void> {
    if (stage !== "reward") return;
    const { root, audit, keepRejected: keep, runtime } = this.#options;
    const removed = await removeRejected(audit, run, { root, keep, by: `training ${id}` });
    if (removed.length > 0) await runtime.swap(run);
  }

  #snapshot(stage: TrainingStage): Promise<Snapshot> {
    const { store, trusted, root } = this.#options;
    const options: SnapshotOptions = { root, folder: join(root, ".data", "feedback") };
    if (stage === "reward") return snapshotComparisons(trusted, options);
    return stage === "sft" ? snapshotCorrections(store, options) : snapshotPrompts(store, options);
  }

  #parameters(
    { stage, run }: TrainingRound,
    { train, valid }: Snapshot,
    settings: Readonly<Record<string, unknown>>,
  ): object {
    const { least, rewardRun } = this.#options;
    const dev = valid === undefined ? {} : { dev: valid.path };
    const files = { run, data: train!.path, ...dev, settings };
    if (stage === "reward") return { ...files, least, base: this.#base };
    const reward = this.#model(rewardRun);
    return { ...files, stage, reward: `${rewardRun}@${reward.step}` };
  }

  #model(run: string): ServedModel {
    const model = this.#options.runtime.models().find(({ id }) => id === run);
    if (model) return model;
    throw new CannotError("train on feedback", `want the run "${run}"`, "it is not served");
  }

  #note(round: TrainingRound, event: string): void {
    const { stage, run, by, state, data, judged, step, swapped, error } = round;
    this.#options.audit.append({
      event,
      run,
      by,
      detail: {
        training: round.id,
        stage,
        ...(data
          ? {
            dataset_version: data.datasetVersion,
            pairs: data.train?.pairs ?? 0,
            held_out_pairs: data.valid?.pairs ?? 0,
            distrusted_pairs: data.distrusted,
          }
          : {}),
        ...(stage === "reward" ? { base: this.#base } : {}),
        ...(event === "training.ended" ? { state, judged, step, swapped, error } : {}),
      },
    });
  }
}

/** Jobs tell plain data of their kinds. */
function hear(round: TrainingRound, event: JobEvent): void {
  const { kind, ...rest } = event as { kind?: string; step?: number };
  round.progress = event;
  if (kind === "judged") round.judged = rest;
  if (kind === "saved" && round.stage === "reward" && rest.step !== undefined) {
    round.step = rest.step;
  }
  if (kind === "published" && rest.step !== undefined) round.step = rest.step;
}

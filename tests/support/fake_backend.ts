/**
 * A runtime backend without a GPU: versions by name, and engines that write one token a step.
 *
 * @module
 */
import type { TextEvent, TextRequest } from "../../src/infer/request.ts";
import { CannotError } from "../../src/config/cannot.ts";
import type { Backend, LoadedModel } from "../../src/runtime/backend.ts";
import type { JobKind } from "../../src/runtime/jobs.ts";
import type { ServedModel } from "../../src/runtime/runtime.ts";
import type { ExampleTokens, TaskClassifier } from "../../src/runtime/task_classifier.ts";
import type { EngineRequest, EngineStats, TextEngine } from "../../src/runtime/text_engine.ts";
import type { RunModels } from "../../src/runtime/versions.ts";

/** A model of a fake run. */
export function servedModel(run: string, step: number, id = `${run}@${step}`): ServedModel {
  return {
    id,
    run,
    step,
    created: 1000 + step,
    weightsHash: `hash of ${run} ${step}`,
    checkpoint: `/runs/${run}/checkpoints/${step}`,
    contextLength: 64,
    vocabSize: 1000,
    channels: 8,
    parameters: 100,
    weightBytes: 400,
  };
}

/** Blocks the thread, as the GPU does. */
export function spin(ms: number): void {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs);
}

interface Row {
  readonly choice: number;
  written: number;
  isDone: boolean;
}

/** Token j of a text is 1000 · step of the version + j; every row gets one a step. */
export class FakeEngine implements TextEngine {
  readonly #requests = new Set<
    { request: TextRequest; rows: Row[]; tell: (e: TextEvent) => void }
  >();
  readonly #step: number;
  readonly #backend: FakeBackend;
  #tail = 0;
  isInStep = false;
  isDestroyed = false;

  constructor(backend: FakeBackend, step: number) {
    this.#backend = backend;
    this.#step = step;
  }

  #check(): void {
    if (this.isDestroyed) throw new Error("used after destroy()");
    if (this.isInStep) throw new Error("called in the middle of a step");
  }

  submit(request: TextRequest, tell: (event: TextEvent) => void): EngineRequest {
    this.#check();
    if (request.prompt.length === 0) throw new RangeError("Cannot generate: a prompt: it is empty");
    const rows = Array.from({ length: request.choices ?? 1 }, (_, choice) => ({
      choice,
      written: 0,
      isDone: false,
    }));
    const entry = { request, rows, tell };
    this.#requests.add(entry);
    tell({ kind: "start", cachedTokens: 0 });
    return {
      cancel: (choice) => {
        this.#check();
        for (const row of rows) {
          if (choice === undefined || row.choice === choice) this.#end(entry, row, "cancelled");
        }
      },
    };
  }

  #end(
    entry: { rows: Row[]; tell: (event: TextEvent) => void },
    row: Row,
    reason: "length" | "cancelled",
  ): void {
    if (row.isDone) return;
    row.isDone = true;
    entry.tell({ kind: "end", choice: row.choice, reason });
    if (!entry.rows.every(({ isDone }) => isDone)) return;
    for (const known of this.#requests) if (known.rows === entry.rows) this.#requests.delete(known);
    entry.tell({ kind: "done" });
  }

  async step(): Promise<boolean> {
    this.#check();
    this.isInStep = true;
    await new Promise((resolve) => setTimeout(resolve, 0)); // messages arrive here
    spin(this.#backend.stepMs);
    const error = this.#backend.stepError;
    this.#backend.stepError = undefined;
    if (error) {
      this.isInStep = false;
      throw error;
    }
    for (const entry of [...this.#requests]) {
      for (const row of entry.rows) {
        if (row.isDone) continue;
        const id = 1000 * this.#step + row.written++;
        entry.tell({ kind: "token", choice: row.choice, id, logProbability: -1, top: [] });
        if (row.written >= entry.request.maxTokens) this.#end(entry, row, "length");
      }
    }
    this.isInStep = false;
    if (this.#requests.size > 0) this.#tail = this.#backend.tailSteps;
    return this.#requests.size > 0 || this.#tail-- > 0;
  }

  get stats(): EngineStats {
    const rows = [...this.#requests].flatMap((entry) => entry.rows).filter((row) => !row.isDone);
    return {
      running: rows.length,
      waiting: 0,
      cacheUsage: rows.length > 0 ? 0.5 : 0,
      prefixQueries: 7,
      prefixHits: 3,
    };
  }

  destroy(): void {
    if (this.isInStep) throw new Error("destroyed in the middle of a step");
    this.isDestroyed = true;
  }
}

/** The shares of an example are its first token and the version's step; three make a batch. */
export class FakeClassifier implements TaskClassifier {
  readonly #backend: FakeBackend;
  readonly #step: number;
  isDestroyed = false;

  constructor(backend: FakeBackend, step: number) {
    this.#backend = backend;
    this.#step = step;
  }

  fit(examples: readonly ExampleTokens[]): number {
    return Math.min(3, examples.length);
  }

  async score(examples: readonly ExampleTokens[]): Promise<Float32Array[]> {
    if (this.#backend.engines.some(({ isInStep }) => isInStep)) throw new Error("in a step");
    if (this.#backend.isClosed) throw new Error("used after close()");
    const tokens = examples.map(({ copies }) => copies[0]![0]!);
    this.#backend.batches.push(tokens);
    await new Promise((resolve) => setTimeout(resolve, 0)); // messages arrive here
    spin(this.#backend.stepMs);
    const error = this.#backend.classifyError;
    this.#backend.classifyError = undefined;
    if (error) throw error;
    return tokens.map((token) => Float32Array.of(token, this.#step));
  }

  destroy(): void {
    this.isDestroyed = true;
  }
}

/** Everything that the tests look at and turn. */
export class FakeBackend implements Backend {
  readonly adapter = "fake adapter";
  readonly jobKinds: Record<string, JobKind> = {};
  limitBytes = Infinity;
  /** Steps of each run, and which is current. */
  readonly runs: Record<string, { steps: number[]; current: number }>;
  /** How long a step of an engine blocks. */
  stepMs = 0;
  /** Steps of an engine after its last request, for what is under way. */
  tailSteps = 1;
  /** Runs that were fine-tuned. */
  heads: string[] = [];
  /** Runs that are reward models; their bias is half their step. */
  rewards: string[] = [];
  /** First tokens of the examples of each batch. */
  readonly batches: number[][] = [];
  /** Thrown by the next batch. */
  classifyError: Error | undefined;
  /** Thrown by the next step of an engine. */
  stepError: Error | undefined;
  /** What was loaded and given back, as "run@step" and "-run@step". */
  readonly log: string[] = [];
  readonly engines: FakeEngine[] = [];
  liveBuffers = 1;
  idled = 0;
  isClosed = false;
  #lose: (error: Error) => void = () => {};
  readonly lost: Promise<Error> = new Promise((resolve) => this.#lose = resolve);

  constructor(runs: Record<string, { steps: number[]; current: number }>) {
    this.runs = runs;
  }

  lose(): void {
    this.#lose(new Error("Cannot generate: a working GPU: it was lost; start the program again"));
  }

  isFatal(error: unknown): boolean {
    return error instanceof Error && error.message.includes("lost");
  }

  idle(): Promise<void> {
    this.idled++;
    return Promise.resolve();
  }

  point(run: string, step: number): Promise<void> {
    if (!this.runs[run]!.steps.includes(step)) {
      return Promise.reject(new CannotError("open", `want step ${step}`, "there is none"));
    }
    this.runs[run]!.current = step;
    return Promise.resolve();
  }

  bytes(): Promise<number> {
    return Promise.resolve(100);
  }

  list(run: string): Promise<RunModels> {
    const { steps, current } = this.runs[run]!;
    return Promise.resolve({
      current: { ...servedModel(run, current, run), ...this.#head(run, current) },
      kept: steps.map((step) => ({ ...servedModel(run, step), ...this.#head(run, step) })),
    });
  }

  #head(run: string, step: number): Pick<ServedModel, "head" | "reward"> {
    if (this.rewards.includes(run)) return { reward: { bias: step / 2, maxTokens: 16 } };
    const head = { task: "classification", labels: ["a", "b"], maxTokens: 16 } as const;
    return this.heads.includes(run) ? { head } : {};
  }

  async load({ run, step }: ServedModel): Promise<LoadedModel> {
    await new Promise((resolve) => setTimeout(resolve, 1));
    this.log.push(`${run}@${step}`);
    this.liveBuffers++;
    let engine = new FakeEngine(this, step);
    this.engines.push(engine);
    return {
      get engine() {
        return engine;
      },
      classifier: [...this.heads, ...this.rewards].includes(run)
        ? new FakeClassifier(this, step)
        : undefined,
      renew: () => {
        engine.destroy();
        this.engines.push(engine = new FakeEngine(this, step));
        this.log.push(`renewed ${run}@${step}`);
        return Promise.resolve();
      },
      destroy: () => {
        engine.destroy();
        this.log.push(`-${run}@${step}`);
        this.liveBuffers--;
      },
    };
  }

  close(): void {
    this.isClosed = true;
    this.liveBuffers--;
  }
}

/**
 * The heart of the runtime: requests on versions of weights, and jobs beside them, a turn at a
 * time. It knows nothing of threads and messages; {@linkcode RuntimeHost} drives it.
 *
 * @module
 */
import type { TextRequest } from "../infer/request.ts";
import type { Backend, LoadedModel } from "./backend.ts";
import { ClassifyQueue } from "./classify_queue.ts";
import { JobTurns, PART_MS } from "./job_turns.ts";
import type { JobEvent, JobInfo, JobQueue } from "./jobs.ts";
import type { RuntimeStatus, ServedModel } from "./runtime.ts";
import type { ExampleTokens } from "./task_classifier.ts";
import type { TextEngine } from "./text_engine.ts";
import { type RequestListener, TextRequests } from "./text_requests.ts";
import { RateMeter } from "./time_share.ts";
import { type Lease, Versions } from "./versions.ts";

/** How {@linkcode RuntimeCore.open} serves. */
export interface CoreOptions {
  /** Names of the runs to serve, the default first. */
  readonly runs: readonly string[];
  /** Part of the GPU's time that jobs get while texts are written. @default 0.3 */
  readonly jobShare?: number | undefined;
}

/** Who is told of all but requests. */
export interface CoreListener {
  /** A job changed, or told something. */
  job(info: JobInfo, events: readonly JobEvent[]): void;
  /** There is something to do again. */
  woke(): void;
  /** The list of models is another one. */
  models(): void;
  /** Nothing can be done any more. */
  failed(error: Error): void;
}

/** Texts and jobs on one device. One call of {@linkcode RuntimeCore.turn} at a time. */
export class RuntimeCore {
  readonly #backend: Backend;
  readonly #versions: Versions<LoadedModel>;
  readonly #listener: CoreListener;
  readonly #jobs: JobTurns;
  readonly #rate = new RateMeter();
  readonly #requests: TextRequests;
  readonly #classify: ClassifyQueue<LoadedModel>;
  /** Versions that stay until they are let go. */
  readonly #holds = new Map<number, Lease<LoadedModel>>();
  /** Whether the last turn with a choice was one of texts: classes have the next. */
  #wasText = false;
  #lastTurnMs: number | undefined;
  #last: LoadedModel | undefined;
  /** Those with work under way, be it that nobody waits for it. */
  readonly #unfinished = new Set<LoadedModel>();
  /** Of requests that have ended; the last of an old version takes its engine with it. */
  #finished: Lease<LoadedModel>[] = [];
  readonly #prefixSeen = new WeakMap<TextEngine, { queries: number; hits: number }>();
  readonly #prefix = { queries: 0, hits: 0 };
  #failure: Error | undefined;

  private constructor(
    backend: Backend,
    versions: Versions<LoadedModel>,
    options: CoreOptions,
    listener: CoreListener,
  ) {
    this.#backend = backend;
    this.#versions = versions;
    this.#listener = listener;
    this.#jobs = new JobTurns({
      kinds: backend.jobKinds,
      share: options.jobShare ?? 0.3,
      idle: () => backend.idle(),
      told: (info, events) => {
        if (info.state !== "waiting" && info.state !== "running") this.#refreshAll();
        listener.job(info, events);
      },
      woke: () => listener.woke(),
    });
    this.#requests = new TextRequests({
      woke: () => listener.woke(),
      ended: (lease) => this.#finished.push(lease),
    });
    this.#classify = new ClassifyQueue({
      woke: () => listener.woke(),
      done: (lease) => {
        this.#finished.push(lease);
        listener.woke();
      },
    });
    backend.lost.then((error) => this.fail(error));
  }

  /**
   * Loads the current version of every run.
   *
   * @throws {CannotError} When one cannot be loaded; the backend is then closed.
   */
  static async open(
    backend: Backend,
    options: CoreOptions,
    listener: CoreListener,
  ): Promise<RuntimeCore> {
    try {
      const versions = await Versions.open(options.runs, backend);
      return new RuntimeCore(backend, versions, options, listener);
    } catch (error) {
      backend.close();
      throw error;
    }
  }

  /** Every model that a request may name, the default first. */
  models(): ServedModel[] {
    return this.#versions.models();
  }

  /** How busy it is, as of the last turn. */
  status(): RuntimeStatus {
    let [running, waiting, cacheUsage] = [0, 0, 0];
    let engines = 0;
    for (const { value } of this.#versions.live()) {
      const { stats } = value.engine;
      running += stats.running;
      waiting += stats.waiting;
      cacheUsage += stats.cacheUsage;
      engines++;
      this.#countPrefix(value.engine);
    }
    waiting += this.#requests.waiting + this.#classify.length;
    return {
      running,
      waiting,
      cacheUsage: engines > 0 ? cacheUsage / engines : 0,
      prefixQueries: this.#prefix.queries,
      prefixHits: this.#prefix.hits,
      tokensPerSecond: this.#rate.tokensPerSecond,
      liveBuffers: this.#backend.liveBuffers,
      adapter: this.#backend.adapter,
      failure: this.#failure?.message,
    };
  }

  /** Takes a request; whatever is wrong with it, its listener is told. */
  submit(id: number, model: string, request: TextRequest, listener: RequestListener): void {
    if (this.#failure) return listener.failed(this.#failure);
    this.#requests.add(id, request, listener, this.#versions.lease(model));
  }

  /**
   * Shares of the classes of each example, or the score of each dialogue; see
   * {@linkcode Runtime.classify}.
   *
   * @param hold of {@linkcode hold}; its version scores, whatever is current
   * @throws {RangeError} When there is no such model, or it has no head.
   */
  async classify(
    model: string,
    examples: readonly ExampleTokens[],
    signal: AbortSignal,
    hold?: number,
  ): Promise<Float32Array[]> {
    if (this.#failure) throw this.#failure;
    const lease = hold === undefined
      ? await this.#versions.lease(model)
      : this.#holds.get(hold)!.share();
    if (this.#failure) {
      lease.release();
      throw this.#failure;
    }
    return await this.#classify.add(lease, examples, signal);
  }

  /**
   * Keeps the version that a model's name means now. @param id of the hold, new
   *
   * @throws {RangeError} When there is no such model.
   */
  async hold(id: number, model: string): Promise<ServedModel> {
    if (this.#failure) throw this.#failure;
    const lease = await this.#versions.lease(model);
    this.#holds.set(id, lease);
    return lease.model;
  }

  /** Lets a version go; harmless when it was. */
  letGo(id: number): void {
    const lease = this.#holds.get(id);
    if (!lease) return;
    this.#holds.delete(id);
    this.#finished.push(lease);
    this.#listener.woke();
  }

  /** Ends one choice of a request, or all; harmless when it has ended. */
  cancel(id: number, choice?: number): void {
    this.#requests.cancel(id, choice);
  }

  /** Serves what `current` of a run points to, or points it to a step first. */
  async swap(run: string, step?: number): Promise<ServedModel> {
    if (this.#failure) throw this.#failure;
    const point = step === undefined ? undefined : () => this.#backend.point(run, step);
    const model = await this.#versions.swap(run, point);
    this.#listener.models();
    return model;
  }

  /** Jobs that wait, run or have ended. */
  get jobs(): Pick<JobQueue, "list"> {
    return this.#jobs.queue;
  }

  /** Puts a job into the queue. @throws {RangeError} When its kind is unknown */
  startJob(kind: string, parameters: unknown): JobInfo {
    if (this.#failure) throw this.#failure;
    const info = this.#jobs.queue.start(kind, parameters);
    this.#listener.woke();
    return info;
  }

  /** Ends a job; it may save first. @throws {RangeError} When there is none of that number */
  cancelJob(id: number): void {
    this.#jobs.queue.cancel(id);
  }

  /** Does one thing. @returns false when there is nothing to do until it tells that it woke */
  async turn(): Promise<boolean> {
    this.#settle();
    if (this.#failure) return false;
    const texts = this.#nextModel();
    const isServing = texts !== undefined || this.#classify.hasWork;
    if (texts) this.#lastTurnMs ??= performance.now();
    else this.#lastTurnMs = undefined;
    this.#jobs.share(isServing);
    // Texts that never wait let a job in once it lacks a whole part.
    const isJobsTurn = this.#jobs.isReady && (!isServing || this.#jobs.owedMs > PART_MS);
    if (isJobsTurn) await this.#jobs.take();
    else if (texts && !(this.#wasText && this.#classify.hasWork)) await this.#textTurn(texts);
    else if (isServing) await this.#classifyTurn();
    else return false;
    this.#settle();
    this.#meter();
    return true;
  }

  /** Ends everything that runs: the device is gone. */
  fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#requests.fail(error);
    this.#classify.fail(error);
    this.#listener.failed(error);
    this.#listener.woke();
    this.#jobs.close(error).catch(() => {}); // those that wait would do so for ever
  }

  /** Ends what runs and gives everything back. No turn may be under way. */
  async close(): Promise<void> {
    const closed = new Error("Cannot go on: an open runtime: it was closed");
    this.#failure ??= closed;
    this.#requests.fail(closed);
    this.#classify.fail(closed);
    await this.#jobs.close(closed);
    this.#versions.close(closed);
    this.#backend.close();
  }

  /** The next version with something to do, in turn. */
  #nextModel(): LoadedModel | undefined {
    const wanted = this.#unfinished.union(this.#requests.models);
    const busy = Array.from(this.#versions.live(), ({ value }) => value).filter((value) =>
      wanted.has(value)
    );
    const after = busy.findIndex((value) => value === this.#last) + 1;
    return busy[after % busy.length];
  }

  async #textTurn(model: LoadedModel): Promise<void> {
    this.#last = model;
    this.#wasText = true;
    try {
      if (await this.#besideJobs(model.engine.step())) this.#unfinished.add(model);
      else this.#unfinished.delete(model);
    } catch (error) {
      this.#unfinished.delete(model);
      await this.#recover(model, asError(error));
    }
  }

  /** One batch of examples. Their requests know already of what goes wrong. */
  async #classifyTurn(): Promise<void> {
    this.#wasText = false;
    try {
      await this.#besideJobs(this.#classify.turn());
    } catch (error) {
      if (this.#backend.isFatal(error)) this.fail(asError(error));
    }
  }

  /**
   * Waits for a turn of texts. While that waits for the GPU to tell what it has done, the GPU is
   * free: a job has its parts then, which hold up nobody.
   */
  async #besideJobs<T>(turn: Promise<T>): Promise<T> {
    const startMs = performance.now();
    let jobMs = 0;
    let isOver = false;
    const over = turn.then(() => {}, () => {}).then(() => isOver = true);
    try {
      while (this.#jobs.isReady && this.#jobs.owedMs >= 0) {
        // The 2 ms of a timer: what is over sooner did not wait for the GPU.
        const later = Promise.withResolvers<void>();
        const timer = setTimeout(later.resolve, 0);
        await Promise.race([over, later.promise]);
        clearTimeout(timer);
        if (isOver) break;
        const jobStartMs = performance.now();
        await this.#jobs.take();
        jobMs += performance.now() - jobStartMs;
      }
      return await turn;
    } finally {
      this.#jobs.addText(performance.now() - startMs - jobMs);
    }
  }

  /** The requests of an engine that threw end; others, and those to come, do not notice. */
  async #recover(model: LoadedModel, error: Error): Promise<void> {
    this.#requests.fail(error, model);
    if (this.#backend.isFatal(error)) return this.fail(error);
    try {
      await model.renew();
    } catch (second) {
      this.fail(asError(second));
    }
  }

  /** What must wait for the end of a step; no step is under way. */
  #settle(): void {
    this.#requests.settle();
    this.#finished = this.#finished.filter((lease) => {
      if (this.#unfinished.has(lease.value)) return true;
      this.#countPrefix(lease.value.engine);
      lease.release();
      return false;
    });
  }

  #countPrefix(engine: TextEngine): void {
    const { prefixQueries, prefixHits } = engine.stats;
    const seen = this.#prefixSeen.get(engine) ?? { queries: 0, hits: 0 };
    this.#prefix.queries += prefixQueries - seen.queries;
    this.#prefix.hits += prefixHits - seen.hits;
    this.#prefixSeen.set(engine, { queries: prefixQueries, hits: prefixHits });
  }

  /** Counts the time between the ends of two turns while texts are written, whatever it went to. */
  #meter(): void {
    const nowMs = performance.now();
    if (this.#lastTurnMs === undefined) return;
    this.#rate.add(this.#requests.takeTokens(), nowMs - this.#lastTurnMs);
    this.#lastTurnMs = nowMs;
  }

  /** A job may have saved checkpoints, or removed some. */
  #refreshAll(): void {
    const runs = new Set(this.#versions.models().map(({ run }) => run));
    for (const run of runs) {
      // What was listed is still served where the folder cannot be read now.
      this.#versions.refresh(run).then(() => this.#listener.models(), () => {});
    }
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

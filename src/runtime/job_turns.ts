/**
 * The turns of jobs beside texts. A job's work comes in parts; each waits until the core lets it
 * go, and lasts some milliseconds, so that a text never waits for more.
 *
 * @module
 */
import type { Part, Turns } from "../gpu/turns.ts";
import type { StepOwner } from "./jobs.ts";
import { type JobEvent, type JobInfo, type JobKind, JobQueue } from "./jobs.ts";
import { TimeShare } from "./time_share.ts";

/**
 * Of a part beside texts. A readback takes 10 ms or more in which the GPU has nothing to do for a
 * text that waits for it: a part has room in that.
 */
export const PART_MS = 8;
/** After the last text more are likely: so long a job still works in small parts. */
const LINGER_MS = 2000;
/** Later a job has the GPU to itself, and lets messages in so often. */
const BREATH_MS = 50;
/** A step of a job that has the GPU to itself is waited for so long. */
const PATIENCE_MS = 200;

/** What {@linkcode JobTurns} are made with. */
export interface JobTurnsOptions {
  /** Kinds of jobs by name. */
  readonly kinds: Readonly<Record<string, JobKind>>;
  /** Part of the GPU's time that jobs get while texts are written. */
  readonly share: number;
  /** Waits for all submitted work; this runtime blocks the thread for most of that. */
  readonly idle: () => Promise<void>;
  /** Hears of every change and event. */
  readonly told: (info: JobInfo, events: readonly JobEvent[]) => void;
  /** There is something to do again. */
  readonly woke: () => void;
}

/** Jobs, and when they have the GPU. */
export class JobTurns implements StepOwner {
  /** Those that wait, run or have ended. */
  readonly queue: JobQueue;
  /** What jobs ask. */
  readonly turns: Turns;
  readonly #options: JobTurnsOptions;
  readonly #share: TimeShare;
  /** Whether texts want the GPU now. */
  #isShared = false;
  /** Until when parts are small. */
  #smallUntilMs = 0;
  /** A step of the job, which may be several parts. */
  #step: Promise<void> | undefined;
  /** The job wants to submit its next part. */
  #asked: PromiseWithResolvers<Part> | undefined;
  /** A part that the step may begin without asking: the first of a turn. */
  #leave: Part | undefined;
  /** The part that is under way. */
  #running: { readonly part: { ms: number | undefined }; readonly sinceMs: number } | undefined;
  /** Ends when the part under way does. */
  #rest = Promise.withResolvers<void>();
  /** The GPU is still at a part, as far as is known. */
  #settling: Promise<void> | undefined;
  #unbilledMs = 0;
  #breathedMs = 0;
  /** What went wrong in the work of a part. */
  #fault: unknown;
  #closed: Error | undefined;

  /** No jobs yet. @throws {RangeError} When the share is none. */
  constructor(options: JobTurnsOptions) {
    this.#options = options;
    this.#share = new TimeShare(options.share);
    this.queue = new JobQueue(options.kinds, options.told);
    const partMs = () => this.#isSmall ? PART_MS : Infinity;
    this.turns = {
      get partMs() {
        return partMs();
      },
      begin: () => this.#begin(),
    };
  }

  /** Whether a job can use a turn now. */
  get isReady(): boolean {
    const isAwaited = this.#isShared && this.#settling !== undefined;
    return this.queue.hasWork && !isAwaited && (!this.#step || this.#asked !== undefined);
  }

  /** What jobs lack of their share of the time, ms. */
  get owedMs(): number {
    return this.#share.owedMs;
  }

  /** Says whether texts want the GPU, too. */
  share(isShared: boolean): void {
    if (!isShared || !this.queue.hasWork) this.#share.reset(); // nobody to share with
    const isSmall = this.#isSmall;
    if (isShared) this.#smallUntilMs = performance.now() + LINGER_MS;
    if (isShared && !isSmall && this.#running) {
      // What it had to itself is no part of what is shared.
      const nowMs = performance.now();
      this.#unbilledMs += nowMs - this.#running.sinceMs;
      this.#running = { ...this.#running, sinceMs: nowMs };
    }
    this.#isShared = isShared;
  }

  get #isSmall(): boolean {
    return performance.now() < this.#smallUntilMs;
  }

  /** Writes down what texts took. */
  addText(ms: number): void {
    this.#share.addText(ms);
  }

  /** A turn: one part beside texts, a step otherwise. Only while it is ready. */
  async take(): Promise<void> {
    const part = { ms: undefined };
    this.#rest = Promise.withResolvers();
    this.#running = { part, sinceMs: performance.now() };
    const asked = this.#asked;
    this.#asked = undefined;
    if (!asked) this.#leave = part;
    else if (this.#fault === undefined) asked.resolve(part);
    else asked.reject(this.#takeFault());
    this.#step ??= this.queue.advance(this).finally(() => {
      this.#endPart();
      this.#step = undefined;
      this.#options.woke();
    });
    const patience = Promise.withResolvers<void>();
    // Beside texts a job that waits, as for its data, does not hold them up.
    const timer = setTimeout(patience.resolve, this.#isSmall ? 0 : PATIENCE_MS);
    await Promise.race([this.#rest.promise, this.#step, patience.promise]);
    clearTimeout(timer);
    if (this.#isSmall) this.#endPart();
  }

  /** Waits for the GPU where texts want it, too. @throws what went wrong in it */
  async settle(): Promise<void> {
    this.#endPart();
    if (this.#isShared) await this.#settling;
    const fault = this.#takeFault();
    if (fault !== undefined) throw fault;
  }

  #takeFault(): unknown {
    const fault = this.#fault;
    this.#fault = undefined;
    return fault;
  }

  /** What jobs had of the thread since it was asked last, ms. */
  takeMs(): number {
    this.#endPart();
    const ms = this.#unbilledMs;
    this.#unbilledMs = 0;
    return ms;
  }

  /** Ends all jobs; none can go on. */
  async close(error: Error): Promise<void> {
    this.#closed ??= error;
    this.#asked?.reject(this.#closed);
    this.#asked = undefined;
    await this.#step;
    await this.queue.close(error.message);
  }

  async #begin(): Promise<Part> {
    const leave = this.#leave;
    this.#leave = undefined;
    if (this.#closed) throw this.#closed;
    if (leave) return leave;
    if (!this.#isSmall) {
      // Messages come in between macrotasks only; the 2 ms of a timer are left to texts.
      if (performance.now() - this.#breathedMs < BREATH_MS) return { ms: undefined };
      await new Promise((resolve) => setTimeout(resolve, 0));
      this.#breathedMs = performance.now();
      if (this.#closed) throw this.#closed;
      if (!this.#isSmall) return { ms: undefined };
    }
    this.#endPart();
    this.#asked = Promise.withResolvers();
    this.#options.woke();
    return await this.#asked.promise;
  }

  /** The part under way is over but for what the GPU does of it. */
  #endPart(): void {
    const running = this.#running;
    if (!running) return;
    this.#running = this.#leave = undefined;
    if (this.#isSmall) {
      // It blocks until the work is done, so that its time is known here; what it tells comes 10 ms
      // later, and nobody but the job waits for that.
      const settling: Promise<void> = this.#options.idle()
        .catch((error) => void (this.#fault ??= error))
        .finally(() => {
          if (this.#settling === settling) this.#settling = undefined;
          this.#options.woke();
        });
      this.#settling = settling;
    }
    const ms = performance.now() - running.sinceMs;
    running.part.ms = ms;
    this.#unbilledMs += ms;
    this.#share.addJob(ms);
    this.#rest.resolve();
  }
}

/**
 * Jobs: stages of training that share the GPU with texts, one at a time, a step at a time.
 *
 * A job asks for turns: each part of its work waits until it may be submitted.
 * A job is started by the name of its kind, as functions do not cross threads.
 *
 * @module
 */
import * as z from "zod";
import type { Device } from "../gpu/device.ts";
import type { Turns } from "../gpu/turns.ts";

/** What a job tells while it goes on: plain data of its kind. */
export type JobEvent = unknown;

/** Work that is done in steps. */
export interface Job {
  /** Yields at least once a micro-batch. */
  readonly events: AsyncGenerator<JobEvent, void>;
  /** Asks it to keep what it has and end soon; without it a cancelled job just ends. */
  stop?(): void;
  /** Gives everything back, whether it has ended or not. */
  close(): void | Promise<void>;
}

/** Where a job works. */
export interface JobPlace {
  /** Shared with texts. */
  readonly device: Device;
  /** Folder of all runs. */
  readonly root: string;
  /** When parts of its work may be submitted. */
  readonly turns: Turns;
}

/**
 * Makes a job of its parameters.
 *
 * @param turns when parts of its work may be submitted
 * @throws {Error} When the parameters do not fit; nothing is left behind then.
 */
export type JobKind = (parameters: unknown, turns: Turns) => Promise<Job>;

/** What the owner of a queue does about the work of a step. */
export interface StepOwner {
  /** Given to the job. */
  readonly turns: Turns;
  /** Waits for the work of the step; what it throws was the job's doing. */
  settle(): Promise<void>;
  /** Time of the GPU's thread that the job has had since this was asked last, ms. */
  takeMs(): number;
}

/** Where a job is: it waits, runs, or has ended in one of three ways. */
export type JobState = "waiting" | "running" | "done" | "cancelled" | "failed";

/** What is known of a job. */
export interface JobInfo {
  /** Counted from 1. */
  readonly id: number;
  /** Name of its kind. */
  readonly kind: string;
  /** As they were given. */
  readonly parameters: unknown;
  /** Where it is. */
  readonly state: JobState;
  /** The last that it told. */
  readonly event?: JobEvent;
  /** Why it failed. */
  readonly error?: string;
  /** Time that it had the GPU's thread. */
  readonly spentMs: number;
}

/** Ended jobs stay in the list so long as they are among the last so many. */
const MOST_ENDED = 100;

type Entry = { -readonly [Key in keyof JobInfo]: JobInfo[Key] } & { isCancelled: boolean };

/** Jobs in the order in which they were started; the first that has not ended runs. */
export class JobQueue {
  readonly #kinds: Readonly<Record<string, JobKind>>;
  readonly #told: (info: JobInfo, events: readonly JobEvent[]) => void;
  readonly #entries: Entry[] = [];
  #job: Job | undefined;
  #count = 0;

  /** An empty queue. @param told hears of every change and event */
  constructor(
    kinds: Readonly<Record<string, JobKind>>,
    told: (info: JobInfo, events: readonly JobEvent[]) => void,
  ) {
    this.#kinds = kinds;
    this.#told = told;
  }

  /** Whether a job is there to go on with. */
  get hasWork(): boolean {
    return this.#first !== undefined;
  }

  get #first(): Entry | undefined {
    return this.#entries.find(({ state }) => state === "waiting" || state === "running");
  }

  /** All that have not ended and the last that have, in the order of their start. */
  list(): JobInfo[] {
    return this.#entries.map(infoOf);
  }

  /** Puts a job at the end of the queue. @throws {RangeError} When its kind is unknown */
  start(kind: string, parameters: unknown): JobInfo {
    if (!Object.hasOwn(this.#kinds, kind)) {
      const known = Object.keys(this.#kinds).join(", ");
      throw new RangeError(`Cannot start a job: a kind of ${known}: got "${kind}"`);
    }
    const id = ++this.#count;
    const entry: Entry = {
      id,
      kind,
      parameters,
      state: "waiting",
      spentMs: 0,
      isCancelled: false,
    };
    this.#entries.push(entry);
    this.#tell(entry);
    return infoOf(entry);
  }

  /** Ends a job early: it may save first. Harmless when it has ended. @throws {RangeError} */
  cancel(id: number): void {
    const entry = this.#entries.find((known) => known.id === id);
    if (!entry) throw new RangeError(`Cannot cancel job ${id}: a job of the list: there is none`);
    if (entry.state === "waiting") this.#end(entry, "cancelled");
    if (entry.state !== "running") return;
    entry.isCancelled = true;
    this.#job?.stop?.();
  }

  /** Takes the first job a step further. Never throws: a failure is the job's own. */
  async advance(owner: StepOwner): Promise<void> {
    const entry = this.#first;
    if (!entry) return;
    const spend = () => entry.spentMs += owner.takeMs();
    try {
      if (!this.#job) {
        entry.state = "running";
        this.#tell(entry);
        this.#job = await this.#kinds[entry.kind]!(entry.parameters, owner.turns);
        if (entry.isCancelled) this.#job.stop?.();
      }
      const isLost = entry.isCancelled && !this.#job.stop;
      const { done, value } = isLost
        ? await this.#job.events.return()
        : await this.#job.events.next();
      await owner.settle();
      if (!done) {
        entry.event = value;
        spend();
        return this.#tell(entry, [value]);
      }
      await this.#close();
      spend();
      this.#end(entry, entry.isCancelled ? "cancelled" : "done");
    } catch (error) {
      const closing = await this.#close().then(() => undefined, (second) => second);
      spend();
      entry.error = closing ? `${messageOf(error)}; then ${messageOf(closing)}` : messageOf(error);
      this.#end(entry, "failed");
    }
  }

  /** Ends all of them; none may be in the middle of a step. */
  async close(reason: string): Promise<void> {
    for (const entry of this.#entries) {
      if (entry.state !== "waiting" && entry.state !== "running") continue;
      entry.error = reason;
      this.#end(entry, "failed");
    }
    await this.#job?.events.return().catch(() => {}); // it has been called failed already
    await this.#close();
  }

  async #close(): Promise<void> {
    const job = this.#job;
    this.#job = undefined;
    await job?.close();
  }

  #end(entry: Entry, state: JobState): void {
    entry.state = state;
    this.#tell(entry);
    const ended = this.#entries.filter((one) => one.state !== "waiting" && one.state !== "running");
    if (ended.length > MOST_ENDED) this.#entries.splice(this.#entries.indexOf(ended[0]!), 1);
  }

  #tell(entry: Entry, events: readonly JobEvent[] = []): void {
    this.#told(infoOf(entry), events);
  }
}

function infoOf({ isCancelled: _, ...info }: Entry): JobInfo {
  return info;
}

function messageOf(error: unknown): string {
  if (error instanceof z.ZodError) return z.prettifyError(error);
  return error instanceof Error ? error.message : String(error);
}

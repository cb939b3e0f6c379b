/**
 * The runtime seen from another thread: requests go out as messages, their events come back.
 *
 * @module
 */
import type { TextEvent, TextRequest } from "../infer/request.ts";
import { EventQueue } from "./event_queue.ts";
import type { JobEvent, JobInfo } from "./jobs.ts";
import { fromFault, type FromRuntime, type Port, type ToRuntime } from "./protocol.ts";
import { noHeadError } from "./classify_queue.ts";
import type {
  GenerationStream,
  RewardHold,
  Runtime,
  RuntimeStatus,
  ServedModel,
} from "./runtime.ts";
import { noTextError } from "./silent_engine.ts";
import type { ExampleTokens } from "./task_classifier.ts";

/** How a {@linkcode RuntimeClient} listens. */
export interface ClientOptions {
  /** Events of a request that may wait for its listener; more end the request. @default 32768 */
  readonly mostWaiting?: number | undefined;
  /** How long {@linkcode RuntimeClient.close} waits for the other side. @default 10000 */
  readonly closeMs?: number | undefined;
}

/** What a client is joined to. */
export interface Connection<Options> extends Port<FromRuntime, ToRuntime<Options>> {
  /** Calls back when the other side has died. */
  died(hear: (error: Error) => void): void;
  /** Ends the other side, whatever it does. */
  terminate(): void;
}

/** Hears of a job. */
export type JobListener = (info: JobInfo, events: readonly JobEvent[]) => void;

/** A runtime at the other end of a connection. */
export class RuntimeClient<Options> implements Runtime {
  readonly #connection: Connection<Options>;
  readonly #mostWaiting: number;
  readonly #closeMs: number;
  readonly #streams = new Map<number, EventQueue<TextEvent>>();
  /** What stops listening to a stream's signal. */
  readonly #ends = new Map<number, () => void>();
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>();
  /** What drops a classification, by its call. */
  readonly #classifying = new Map<number, (reason: unknown) => void>();
  readonly #opened = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<void>();
  readonly #jobs = new Map<number, JobInfo>();
  readonly #jobListeners = new Set<JobListener>();
  #emptied: PromiseWithResolvers<void> | undefined;
  #models: readonly ServedModel[] = [];
  #status: RuntimeStatus | undefined;
  #failure: Error | undefined;
  #count = 0;
  #closing: Promise<void> | undefined;

  private constructor(connection: Connection<Options>, options: ClientOptions) {
    this.#connection = connection;
    this.#mostWaiting = options.mostWaiting ?? 32768;
    this.#closeMs = options.closeMs ?? 10_000;
    this.#opened.promise.catch(() => {}); // open() tells
    connection.listen((message) => this.#hear(message));
    connection.died((error) => {
      this.#fail(error);
      this.#closed.resolve(); // there is nobody left to say so
    });
  }

  /**
   * Opens the runtime behind a connection.
   *
   * @throws {NoAdapterError} When there is no GPU.
   * @throws {CannotError} When a run cannot be served. The other side is then ended.
   */
  static async open<Options>(
    connection: Connection<Options>,
    options: Options,
    clientOptions: ClientOptions = {},
  ): Promise<RuntimeClient<Options>> {
    const client = new RuntimeClient(connection, clientOptions);
    connection.send({ kind: "open", options });
    try {
      await client.#opened.promise;
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  /** Every model that a request may name, the default first. */
  models(): readonly ServedModel[] {
    return this.#models;
  }

  /** How busy it is, as of the last turn. */
  status(): RuntimeStatus {
    return { ...this.#status!, failure: this.#failure?.message };
  }

  /** Writes texts; see {@linkcode Runtime.generate}. */
  generate(
    model: string,
    request: TextRequest,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): GenerationStream {
    if (this.#failure) throw this.#failure;
    if (this.#find(model, "generate").reward) throw noTextError(model);
    const { signal } = options;
    const id = ++this.#count;
    const cancel = (choice?: number) => {
      if (this.#streams.has(id)) this.#send({ kind: "cancel", request: id, choice });
    };
    const abort = () => cancel();
    const queue = new EventQueue<TextEvent>(this.#mostWaiting, () => {
      abort();
      this.#forget(id);
    });
    this.#streams.set(id, queue);
    this.#ends.set(id, () => signal?.removeEventListener("abort", abort));
    this.#send({ kind: "submit", request: id, model, text: request });
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort, { once: true });
    return { [Symbol.asyncIterator]: () => queue, cancel };
  }

  /** Shares of the classes of examples; see {@linkcode Runtime.classify}. */
  classify(
    model: string,
    examples: readonly ExampleTokens[],
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly Float32Array[]> {
    return this.#scores(() => {
      if (!this.#find(model, "classify").head) throw noHeadError(model);
      return { model, examples };
    }, signal);
  }

  /** Holds a version of a reward model; see {@linkcode Runtime.holdReward}. */
  async holdReward(model: string): Promise<RewardHold> {
    if (this.#failure) throw this.#failure;
    if (!this.#find(model, "score").reward) throw noRewardError(model);
    const hold = ++this.#count;
    const held = await this.#call(() => ({ kind: "hold", call: hold, model }), hold) as ServedModel;
    const { bias } = held.reward!;
    let isHeld = true;
    return {
      model: { ...held, id: `${held.run}@${held.step}` },
      score: async (dialogues, { signal } = {}) => {
        if (!isHeld) throw new Error(`Cannot score with "${model}": a held version: it was let go`);
        const examples = dialogues.map((ids) => ({ copies: [ids] }));
        const scores = await this.#scores(() => ({ model, examples, hold }), signal);
        return scores.map(([score]) => score! + bias);
      },
      release: () => {
        if (isHeld) this.#send({ kind: "let go", hold });
        isHeld = false;
      },
    };
  }

  /** Has examples scored, and sees to it that they are dropped when the signal aborts. */
  async #scores(
    ask: () => { model: string; examples: readonly ExampleTokens[]; hold?: number },
    signal: AbortSignal | undefined,
  ): Promise<readonly Float32Array[]> {
    if (this.#failure) throw this.#failure;
    const asked = ask();
    signal?.throwIfAborted();
    const call = ++this.#count;
    const answer = Promise.withResolvers<unknown>();
    this.#calls.set(call, answer);
    const drop = (reason: unknown) => {
      if (!this.#calls.delete(call)) return; // it is answered
      this.#send({ kind: "drop", call });
      answer.reject(reason);
    };
    this.#classifying.set(call, drop);
    const abort = () => drop(signal!.reason);
    signal?.addEventListener("abort", abort, { once: true });
    this.#send({ kind: "classify", call, ...asked });
    try {
      return await answer.promise as Float32Array[];
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#classifying.delete(call);
      this.#tellEmptied();
    }
  }

  /** Serves what `current` of a run points to, or points it to a step first. */
  async swap(run: string, step?: number): Promise<ServedModel> {
    return await this.#call((call) => ({ kind: "swap", call, run, step })) as ServedModel;
  }

  /** Ends when what is running has ended, or all of it is cancelled when the signal aborts. */
  async drain(signal?: AbortSignal): Promise<void> {
    const abort = () => {
      for (const request of this.#streams.keys()) this.#send({ kind: "cancel", request });
      for (const drop of this.#classifying.values()) drop(signal!.reason);
    };
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    while (this.#streams.size > 0 || this.#classifying.size > 0) {
      this.#emptied ??= Promise.withResolvers();
      await this.#emptied.promise;
    }
    signal?.removeEventListener("abort", abort);
  }

  /**
   * Puts a job into the queue.
   *
   * @param parameters plain data, as its kind takes them
   * @throws {RangeError} When the kind is unknown.
   */
  async startJob(kind: string, parameters: unknown): Promise<JobInfo> {
    return await this.#call((call) => ({
      kind: "start job",
      call,
      job: kind,
      parameters,
    })) as JobInfo;
  }

  /** Ends a job; it may save first. @throws {RangeError} When there is none of that number */
  async cancelJob(job: number): Promise<void> {
    await this.#call((call) => ({ kind: "cancel job", call, job }));
  }

  /** Jobs that wait, run or have ended, in the order of their start. */
  jobs(): JobInfo[] {
    return [...this.#jobs.values()];
  }

  /** Tells of every change and event of every job. @returns what stops it */
  onJob(listener: JobListener): () => void {
    this.#jobListeners.add(listener);
    return () => this.#jobListeners.delete(listener);
  }

  /** Waits until a job has ended, one way or another. @throws {RangeError} When there is none */
  async jobEnded(id: number): Promise<JobInfo> {
    const known = this.#jobs.get(id);
    if (!known) throw new RangeError(`Cannot wait for job ${id}: a job of the list: there is none`);
    if (hasEnded(known)) return known;
    const ended = Promise.withResolvers<JobInfo>();
    const stop = this.onJob((info) => {
      if (info.id === id && hasEnded(info)) ended.resolve(info);
    });
    try {
      return await ended.promise;
    } finally {
      stop();
    }
  }

  /**
   * Ends what runs and gives the device back. Streams that have not ended throw. Never waits for
   * long: the other side is ended if it does not answer.
   */
  async close(): Promise<void> {
    await (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#send({ kind: "close" });
    const timer = setTimeout(() => this.#closed.resolve(), this.#closeMs);
    await this.#closed.promise;
    clearTimeout(timer);
    this.#fail(new Error("Cannot generate: an open runtime: it was closed"));
    this.#connection.terminate();
  }

  #send(message: ToRuntime<Options>): void {
    this.#connection.send(message);
  }

  async #call(
    message: (call: number) => ToRuntime<Options>,
    call = ++this.#count,
  ): Promise<unknown> {
    if (this.#failure) throw this.#failure;
    const answer = Promise.withResolvers<unknown>();
    this.#calls.set(call, answer);
    this.#send(message(call));
    return await answer.promise;
  }

  #hear(message: FromRuntime): void {
    switch (message.kind) {
      case "opened":
        this.#models = message.models;
        this.#status = message.status;
        return this.#opened.resolve();
      case "turn": {
        this.#status = message.status;
        this.#models = message.models ?? this.#models;
        for (const [id, events] of message.events) this.#hearEvents(id, events);
        for (const [id, fault] of message.failed) this.#finish(id, fromFault(fault));
        for (const [info, events] of message.jobs) this.#hearJob(info, events);
        return;
      }
      case "answer":
      case "refusal": {
        const answer = this.#calls.get(message.call);
        this.#calls.delete(message.call);
        if (message.kind === "answer") return answer?.resolve(message.value);
        return answer?.reject(fromFault(message.fault));
      }
      case "failed":
        return this.#fail(fromFault(message.fault));
      case "closed":
        if (this.#status) this.#status = { ...this.#status, liveBuffers: message.liveBuffers };
        return this.#closed.resolve();
    }
  }

  #hearEvents(id: number, events: readonly TextEvent[]): void {
    const queue = this.#streams.get(id);
    if (!queue) return; // its listener has left
    if (!queue.push(events)) {
      this.#send({ kind: "cancel", request: id });
      return this.#finish(
        id,
        new Error(
          `Cannot generate: at most ${this.#mostWaiting} events that wait to be read: ` +
            "the listener is too slow",
        ),
      );
    }
    if (events.at(-1)?.kind === "done") this.#finish(id);
  }

  #hearJob(info: JobInfo, events: readonly JobEvent[]): void {
    this.#jobs.set(info.id, info);
    const ended = [...this.#jobs.values()].filter(hasEnded);
    if (ended.length > 100) this.#jobs.delete(ended[0]!.id);
    for (const listener of this.#jobListeners) listener(info, events);
  }

  #finish(id: number, failure?: Error): void {
    this.#streams.get(id)?.end(failure);
    this.#forget(id);
  }

  #forget(id: number): void {
    this.#ends.get(id)?.();
    this.#ends.delete(id);
    this.#streams.delete(id);
    this.#tellEmptied();
  }

  #find(id: string, act: string): ServedModel {
    const found = this.#models.find((model) => model.id === id);
    if (found) return found;
    const known = this.#models.map((model) => model.id).join(", ");
    throw new RangeError(`Cannot ${act} with "${id}": one of ${known}: there is no such model`);
  }

  #tellEmptied(): void {
    if (this.#streams.size > 0 || this.#classifying.size > 0) return;
    this.#emptied?.resolve();
    this.#emptied = undefined;
  }

  /** Nothing more will come: all who wait are told. */
  #fail(error: Error): void {
    this.#failure ??= error;
    this.#opened.reject(error);
    for (const id of [...this.#streams.keys()]) this.#finish(id, error);
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
    for (const info of this.#jobs.values()) {
      if (!hasEnded(info)) this.#hearJob({ ...info, state: "failed", error: error.message }, []);
    }
  }
}

function noRewardError(model: string): RangeError {
  return new RangeError(`Cannot score with "${model}": a reward model: it is none`);
}

function hasEnded({ state }: JobInfo): boolean {
  return state !== "waiting" && state !== "running";
}

/**
 * Examples that wait for the head of a version: in the order in which they came, a batch a turn,
 * those of several requests together.
 *
 * @module
 */
import type { ExampleTokens, TaskClassifier } from "./task_classifier.ts";
import type { Lease } from "./versions.ts";

/** A version that may have a head. */
export interface Classifies {
  /** Undefined without a head. */
  readonly classifier: TaskClassifier | undefined;
}

/** What the queue tells its owner. */
export interface QueueListener<V> {
  /** There is something to do. */
  woke(): void;
  /** A version is not used any more. */
  done(lease: Lease<V>): void;
}

/** Examples that a batch may be cut from; none is larger. */
const MOST_OFFERED = 64;

interface Request<V> {
  readonly lease: Lease<V>;
  readonly examples: readonly ExampleTokens[];
  readonly shares: Float32Array[];
  readonly answer: PromiseWithResolvers<Float32Array[]>;
  /** Examples that are in a batch or scored. */
  taken: number;
  hasEnded: boolean;
}

/** Requests for shares of classes. One call of {@linkcode ClassifyQueue.turn} at a time. */
export class ClassifyQueue<V extends Classifies> {
  readonly #listener: QueueListener<V>;
  #requests: Request<V>[] = [];

  /** An empty queue. */
  constructor(listener: QueueListener<V>) {
    this.#listener = listener;
  }

  /** Whether {@linkcode turn} has something to do. */
  get hasWork(): boolean {
    return this.#requests.length > 0;
  }

  /** Requests that wait or are under way. */
  get length(): number {
    return this.#requests.length;
  }

  /**
   * Shares of the classes of each example, in their order. The lease is given back at the end.
   *
   * @throws {RangeError} When the version has no head.
   * @throws The signal's reason when it aborts: what has not begun is dropped.
   */
  async add(
    lease: Lease<V>,
    examples: readonly ExampleTokens[],
    signal: AbortSignal,
  ): Promise<Float32Array[]> {
    const request: Request<V> = {
      lease,
      examples,
      shares: [],
      answer: Promise.withResolvers(),
      taken: 0,
      hasEnded: false,
    };
    const abort = () => this.#end(request, signal.reason);
    try {
      signal.throwIfAborted();
      if (!lease.value.classifier) throw noHeadError(lease.model.id);
      if (examples.length === 0) return [];
      signal.addEventListener("abort", abort, { once: true });
      this.#requests.push(request);
      this.#listener.woke();
      return await request.answer.promise;
    } finally {
      signal.removeEventListener("abort", abort);
      this.#listener.done(lease);
    }
  }

  /**
   * Scores the next batch: of the version that has waited longest.
   *
   * @throws {Error} What went wrong in it, after the requests in the batch were told.
   */
  async turn(): Promise<void> {
    const version = this.#requests[0]?.lease.value;
    if (!version) return;
    const waiting = this.#requests.filter(({ lease }) => lease.value === version);
    const next = waiting.flatMap((request) =>
      request.examples.slice(request.taken, request.taken + MOST_OFFERED)
        .map((example) => ({ request, example }))
    ).slice(0, MOST_OFFERED);
    const classifier = version.classifier!;
    const count = classifier.fit(next.map(({ example }) => example));
    const batch = next.slice(0, count);
    for (const { request } of batch) request.taken++;
    try {
      const shares = await classifier.score(batch.map(({ example }) => example));
      batch.forEach(({ request }, i) => request.shares.push(shares[i]!));
    } catch (error) {
      for (const { request } of batch) this.#end(request, error);
      throw error;
    }
    for (const { request } of batch) {
      if (request.shares.length === request.examples.length) this.#end(request);
    }
  }

  /** Ends all requests with an error. */
  fail(error: Error): void {
    for (const request of [...this.#requests]) this.#end(request, error);
  }

  #end(request: Request<V>, error?: unknown): void {
    if (request.hasEnded) return;
    request.hasEnded = true;
    this.#requests = this.#requests.filter((other) => other !== request);
    if (error === undefined) request.answer.resolve(request.shares);
    else request.answer.reject(error);
  }
}

/** What is told where a model that only writes is to classify. */
export function noHeadError(model: string): RangeError {
  return new RangeError(
    `Cannot classify with "${model}": a model that was fine-tuned for a task: it has no head`,
  );
}

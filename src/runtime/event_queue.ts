/**
 * Events on their way to one listener, at most so many: whoever listens too slowly does not make
 * others wait, and does not fill the memory.
 *
 * @module
 */

/** A queue that one listener reads with `for await`, in the order of the pushes. */
export class EventQueue<T> implements AsyncIterator<T, void> {
  readonly #most: number;
  readonly #left: () => void;
  #items: T[] = [];
  #at = 0; // of the next item to be read
  #waiting: PromiseWithResolvers<IteratorResult<T, void>> | undefined;
  #ended = false;
  #failure: Error | undefined;

  /**
   * An empty queue.
   *
   * @param most events that may wait to be read
   * @param left called when the listener stops before the end
   */
  constructor(most: number, left: () => void) {
    this.#most = most;
    this.#left = left;
  }

  /** Whether no more can be pushed. */
  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Appends events. @returns false when they are more than may wait: none of them is taken */
  push(events: readonly T[]): boolean {
    if (this.#ended) return true; // nobody waits for them
    if (this.#items.length - this.#at + events.length > this.#most) return false;
    for (const event of events) this.#items.push(event);
    this.#serve();
    return true;
  }

  /** No more will come; with an error, the listener is thrown that after what waits. */
  end(failure?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#serve();
  }

  /** The next event, as soon as there is one. @throws {Error} The failure, once, at the end */
  next(): Promise<IteratorResult<T, void>> {
    if (this.#waiting) {
      return Promise.reject(new Error("Cannot listen: one reader at a time: two are waiting"));
    }
    this.#waiting = Promise.withResolvers();
    const { promise } = this.#waiting;
    this.#serve();
    return promise;
  }

  /** The listener leaves: what waits is dropped. */
  return(): Promise<IteratorResult<T, void>> {
    const early = !this.#ended;
    this.#ended = true;
    this.#failure = undefined;
    this.#items = [];
    this.#at = 0;
    this.#serve();
    if (early) this.#left();
    return Promise.resolve({ done: true, value: undefined });
  }

  #serve(): void {
    const waiting = this.#waiting;
    if (!waiting) return;
    if (this.#at < this.#items.length) {
      this.#waiting = undefined;
      waiting.resolve({ done: false, value: this.#items[this.#at++]! });
      if (this.#at === this.#items.length) {
        this.#items = [];
        this.#at = 0;
      }
      return;
    }
    if (!this.#ended) return;
    this.#waiting = undefined;
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure) waiting.reject(failure);
    else waiting.resolve({ done: true, value: undefined });
  }
}

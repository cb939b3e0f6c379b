/**
 * Things made once a shape: the most recently used stay, the others are given back.
 *
 * @module
 */

/** So many things by number; what was not used for longest goes first. */
export class Recent<T extends { destroy(): void }> {
  readonly #most: number;
  /** Insertion order is the order of the last uses. */
  readonly #kept = new Map<number, T>();

  /** Keeps up to `most`. @throws {RangeError} When it could keep none. */
  constructor(most: number) {
    if (!(Number.isInteger(most) && most >= 1)) {
      throw new RangeError(`Cannot keep recent things: 1 or more of them: got ${most}`);
    }
    this.#most = most;
  }

  /** Those that are kept, the one not used for longest first. */
  get values(): readonly T[] {
    return [...this.#kept.values()];
  }

  /** The one of a number, made where it is not there. One call at a time. */
  async get(key: number, make: () => Promise<T>): Promise<T> {
    let found = this.#kept.get(key);
    if (found) this.#kept.delete(key);
    else {
      if (this.#kept.size >= this.#most) {
        const [oldest, thing] = this.#kept.entries().next().value!;
        this.#kept.delete(oldest);
        thing.destroy();
      }
      found = await make();
    }
    this.#kept.set(key, found);
    return found;
  }

  /** Gives all of them back. */
  destroy(): void {
    for (const thing of this.#kept.values()) thing.destroy();
    this.#kept.clear();
  }
}

/**
 * The registry of weights versions. A version is immutable: new requests use the newest, rows in
 * flight finish on theirs. At most two versions of a run live at once; a third waits for its turn.
 *
 * @module
 */
import { CannotError } from "../config/cannot.ts";
import type { ServedModel } from "./runtime.ts";

/** The most versions of a run that live at once. */
export const MOST_LIVE = 2;

/** What a run has to serve. */
export interface RunModels {
  /** What `current` points to; its id is the run's name. */
  readonly current: ServedModel;
  /** Every checkpoint that is there, by `name@step`. */
  readonly kept: readonly ServedModel[];
}

/** What the registry is made with; tests have fakes. */
export interface VersionParts<V> {
  /** Reads what a run has. @throws {CannotError} When there is no such run, or nothing current. */
  list(run: string): Promise<RunModels>;
  /** Brings a version onto the GPU. */
  load(model: ServedModel): Promise<V>;
  /** Bytes that it takes there. */
  bytes(model: ServedModel): Promise<number>;
  /** All versions together stay within it. */
  readonly limitBytes: number;
}

/** The right to use a version. Who has it gives it back, once. */
export interface Lease<V> {
  /** Which it is. */
  readonly model: ServedModel;
  /** What was loaded. */
  readonly value: V;
  /**
   * Another lease on the same version, whatever is current. @throws {Error} When it was given back
   */
  share(): Lease<V>;
  /** Gives the right back; the last one of an old version gives its memory back. */
  release(): void;
}

interface Version<V> {
  readonly model: ServedModel;
  readonly value: V;
  readonly bytes: number;
  leases: number;
  /** Stays without a lease until its place is needed: it was asked for by its step. */
  kept: boolean;
}

interface ServedRun<V> {
  readonly name: string;
  models: RunModels | undefined;
  current: Version<V> | undefined;
  /** The longest unused first. */
  readonly live: Version<V>[];
  /** Loads go one after the other. */
  queue: Promise<unknown>;
  queued: number;
}

/** Versions by run, the first run being the default. */
export class Versions<V extends { destroy(): void }> {
  readonly #parts: VersionParts<V>;
  readonly #runs: readonly ServedRun<V>[];
  #loadingBytes = 0;
  #waiting: PromiseWithResolvers<void> | undefined;
  #closed: Error | undefined;

  private constructor(runs: readonly string[], parts: VersionParts<V>) {
    this.#parts = parts;
    this.#runs = runs.map((name) => ({
      name,
      models: undefined,
      current: undefined,
      live: [],
      queue: Promise.resolve(),
      queued: 0,
    }));
  }

  /**
   * Loads the current version of every run.
   *
   * @throws {RangeError} When no run is named, or one twice.
   * @throws {CannotError} When one cannot be loaded or does not fit; the others are given back.
   */
  static async open<V extends { destroy(): void }>(
    runs: readonly string[],
    parts: VersionParts<V>,
  ): Promise<Versions<V>> {
    if (runs.length === 0 || new Set(runs).size < runs.length) {
      throw new RangeError(
        `Cannot serve: one or more runs, each once: got ${runs.join(", ") || "none"}`,
      );
    }
    const versions = new Versions(runs, parts);
    try {
      for (const run of runs) await versions.swap(run);
      return versions;
    } catch (error) {
      versions.close();
      throw error;
    }
  }

  /** Every model that may be asked for, the default first. */
  models(): ServedModel[] {
    return this.#runs.flatMap(({ models }) => models ? [models.current, ...models.kept] : []);
  }

  /** Versions on the GPU. */
  *live(): Generator<{ readonly model: ServedModel; readonly value: V }> {
    for (const run of this.#runs) yield* run.live;
  }

  /**
   * The right to use a model. The version of a run's name is the one that is current at the call.
   *
   * @throws {RangeError} When there is no such model: it says which there are.
   * @throws {CannotError} When it cannot be loaded.
   */
  async lease(id: string): Promise<Lease<V>> {
    const run = this.#runs.find(({ name, models }) =>
      name === id || models?.kept.some((model) => model.id === id)
    );
    if (this.#closed) throw this.#closed;
    if (!run) {
      const known = this.models().map((model) => model.id).join(", ");
      throw new RangeError(`Cannot generate with "${id}": one of ${known}: there is no such model`);
    }
    if (run.name === id) return this.#take(run.current!);
    const model = run.models!.kept.find((kept) => kept.id === id)!;
    const live = run.live.find((version) => isSame(version.model, model));
    // Who comes later does not keep a version busy that someone waits to see go.
    if (live && (live === run.current || run.queued === 0)) {
      live.kept = true;
      return this.#take(live);
    }
    return await this.#inTurn(run, async () => {
      const version = await this.#load(run, model);
      version.kept = true;
      return this.#asLease(version);
    });
  }

  /**
   * Serves what `current` of a run points to now. Waits while two versions of it have rows.
   *
   * @param before runs when it is this swap's turn, as what points `current` elsewhere does
   * @throws {RangeError} When no such run is served.
   * @throws {CannotError} When it cannot be loaded; the version before is then still served.
   */
  async swap(name: string, before?: () => Promise<void>): Promise<ServedModel> {
    const run = this.#runs.find((served) => served.name === name);
    if (!run) {
      const known = this.#runs.map((served) => served.name).join(", ");
      throw new RangeError(`Cannot swap run "${name}": one of ${known}: it is not served`);
    }
    return await this.#inTurn(run, async () => {
      await before?.();
      const models = await this.#parts.list(name);
      const version = await this.#load(run, models.current);
      const old = run.current;
      run.models = models;
      run.current = version;
      this.#release(run, version);
      if (old && old !== version && old.leases === 0) this.#drop(run, old);
      return models.current;
    });
  }

  /** Reads anew which checkpoints a run has; what is served stays. */
  async refresh(name: string): Promise<void> {
    const run = this.#runs.find((served) => served.name === name);
    if (!run?.models) return;
    const { kept } = await this.#parts.list(name);
    run.models = { current: run.models.current, kept };
  }

  /** Gives all versions back; whoever waits for one hears of it. */
  close(reason: Error = new Error("Cannot load weights: an open runtime: it was closed")): void {
    this.#closed ??= reason;
    for (const run of this.#runs) {
      run.current = undefined;
      for (const version of run.live.splice(0)) version.value.destroy();
    }
    this.#wake();
  }

  /** Runs after all earlier loads of the run. */
  async #inTurn<T>(run: ServedRun<V>, work: () => Promise<T>): Promise<T> {
    run.queued++;
    const mine = run.queue.then(work).finally(() => run.queued--);
    run.queue = mine.catch(() => {}); // who asked is told
    return await mine;
  }

  /** A version with one lease on it. */
  async #load(run: ServedRun<V>, model: ServedModel): Promise<Version<V>> {
    const live = run.live.find((version) => isSame(version.model, model));
    if (live) {
      live.leases++;
      return live;
    }
    const bytes = await this.#parts.bytes(model);
    await this.#makeRoom(run, model, bytes);
    this.#loadingBytes += bytes;
    const value = await this.#parts.load(model).finally(() => {
      this.#loadingBytes -= bytes;
      this.#wake();
    });
    if (this.#closed) {
      value.destroy();
      throw this.#closed;
    }
    const version = { model, value, bytes, leases: 1, kept: false };
    run.live.push(version);
    return version;
  }

  async #makeRoom(run: ServedRun<V>, model: ServedModel, bytes: number): Promise<void> {
    const { limitBytes } = this.#parts;
    for (;;) {
      if (this.#closed) throw this.#closed;
      const all = this.#runs.flatMap(({ live }) => live);
      const pinned = this.#runs.flatMap(({ current }) => current ?? []);
      if (sum(pinned) + bytes > limitBytes) {
        throw new CannotError(
          `serve ${model.run}, step ${model.step}`,
          `want at most ${limitBytes.toLocaleString("en")} bytes of GPU memory`,
          `it needs ${bytes.toLocaleString("en")} beside ${sum(pinned).toLocaleString("en")} ` +
            "of what is served",
        );
      }
      const isCrowded = run.live.length >= MOST_LIVE;
      if (!isCrowded && sum(all) + this.#loadingBytes + bytes <= limitBytes) return;
      const from = isCrowded ? [run] : this.#runs;
      const idle = from.flatMap((owner) => owner.live.map((version) => ({ owner, version })))
        .find(({ owner, version }) => version !== owner.current && version.leases === 0);
      if (idle) this.#drop(idle.owner, idle.version);
      else await this.#freed();
    }
  }

  /** Waits until some version loses its last lease. */
  async #freed(): Promise<void> {
    this.#waiting ??= Promise.withResolvers<void>();
    await this.#waiting.promise;
  }

  #wake(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }

  #take(version: Version<V>): Lease<V> {
    version.leases++;
    return this.#asLease(version);
  }

  #asLease(version: Version<V>): Lease<V> {
    const run = this.#runs.find(({ name }) => name === version.model.run)!;
    // The one used last goes last.
    const at = run.live.indexOf(version);
    if (at >= 0) run.live.push(...run.live.splice(at, 1));
    let isHeld = true;
    return {
      model: version.model,
      value: version.value,
      share: () => {
        if (!isHeld) throw new Error("Cannot share a lease: one that is held: it was given back");
        return this.#take(version);
      },
      release: () => {
        if (isHeld) this.#release(run, version);
        isHeld = false;
      },
    };
  }

  #release(run: ServedRun<V>, version: Version<V>): void {
    version.leases--;
    if (version.leases > 0 || !run.live.includes(version)) return;
    if (version !== run.current && !version.kept) this.#drop(run, version);
    this.#wake();
  }

  #drop(run: ServedRun<V>, version: Version<V>): void {
    run.live.splice(run.live.indexOf(version), 1);
    version.value.destroy();
  }
}

function isSame(a: ServedModel, b: ServedModel): boolean {
  return a.step === b.step && a.weightsHash === b.weightsHash;
}

function sum(versions: readonly { readonly bytes: number }[]): number {
  return versions.reduce((total, { bytes }) => total + bytes, 0);
}

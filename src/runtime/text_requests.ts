/**
 * Requests for texts, from when they come to their last event: they wait for their version, then
 * the engine of that has them.
 *
 * @module
 */
import type { TextEvent, TextRequest } from "../infer/request.ts";
import type { LoadedModel } from "./backend.ts";
import type { EngineRequest } from "./text_engine.ts";
import type { Lease } from "./versions.ts";

/** Who is told of a request. */
export interface RequestListener {
  /** What happens, "done" last. */
  event(event: TextEvent): void;
  /** It ends without "done". */
  failed(error: Error): void;
}

/** What the requests tell their owner. */
export interface RequestsOwner {
  /** There is something to do. */
  woke(): void;
  /** A request has ended; its version may be given back once no step is under way. */
  ended(lease: Lease<LoadedModel>): void;
}

interface Live {
  readonly id: number;
  readonly request: TextRequest;
  readonly listener: RequestListener;
  /** Ended before the engine had it. */
  readonly cancelled: Set<number>;
  lease: Lease<LoadedModel> | undefined;
  handle: EngineRequest | undefined;
  ended: boolean;
}

/** Those that have not ended. */
export class TextRequests {
  readonly #owner: RequestsOwner;
  readonly #live = new Map<number, Live>();
  /** What must not happen while an engine is in the middle of a step. */
  #between: (() => void)[] = [];
  #tokens = 0;

  /** None yet. */
  constructor(owner: RequestsOwner) {
    this.#owner = owner;
  }

  /** Those that wait for their version. */
  get waiting(): number {
    let count = 0;
    for (const { handle } of this.#live.values()) if (!handle) count++;
    return count;
  }

  /** Those versions whose engines have some. */
  get models(): Set<LoadedModel> {
    const models = new Set<LoadedModel>();
    for (const { lease, handle } of this.#live.values()) if (handle) models.add(lease!.value);
    return models;
  }

  /** Takes a request; whatever is wrong with it, its listener is told. @param leased its version */
  add(
    id: number,
    request: TextRequest,
    listener: RequestListener,
    leased: Promise<Lease<LoadedModel>>,
  ): void {
    const live: Live = {
      id,
      request,
      listener,
      cancelled: new Set(),
      lease: undefined,
      handle: undefined,
      ended: false,
    };
    this.#live.set(id, live);
    leased.then(
      (lease) => {
        live.lease = lease;
        if (live.ended) lease.release();
        else this.#later(() => this.#begin(live));
      },
      (error) => this.#fail(live, error),
    );
  }

  /** Ends one choice of a request, or all; harmless when it has ended. */
  cancel(id: number, choice?: number): void {
    const live = this.#live.get(id);
    if (!live) return;
    this.#later(() => {
      if (live.ended) return;
      if (live.handle) return live.handle.cancel(choice);
      const choices = choice === undefined ? Array.from(indices(live.request)) : [choice];
      for (const each of choices) this.#cancelEarly(live, each);
    });
  }

  /** Ends all with an error, or those that an engine has of a version. */
  fail(error: Error, model?: LoadedModel): void {
    for (const live of [...this.#live.values()]) {
      if (!model || (live.handle && live.lease!.value === model)) this.#fail(live, error);
    }
  }

  /** Does what must wait for the end of a step; no step is under way. */
  settle(): void {
    while (this.#between.length > 0) for (const act of this.#between.splice(0)) act();
  }

  /** Tokens told of since this was asked last. */
  takeTokens(): number {
    const tokens = this.#tokens;
    this.#tokens = 0;
    return tokens;
  }

  /** The engine gets a request; so late, as its version may have had to be loaded. */
  #begin(live: Live): void {
    if (live.ended) return;
    const { request, lease, cancelled } = live;
    try {
      live.handle = lease!.value.engine.submit(request, (event) => this.#hear(live, event));
      for (const choice of cancelled) live.handle.cancel(choice);
    } catch (error) {
      this.#fail(live, error instanceof Error ? error : new Error(String(error)));
    }
  }

  #hear(live: Live, event: TextEvent): void {
    if (live.ended) return;
    if (event.kind === "token") this.#tokens++;
    live.listener.event(event);
    if (event.kind === "done") this.#end(live);
  }

  /** Ends a choice that no engine knows of. */
  #cancelEarly(live: Live, choice: number): void {
    live.cancelled.add(choice);
    const all = Array.from(indices(live.request));
    if (!all.every((each) => live.cancelled.has(each))) return;
    for (const each of all) live.listener.event({ kind: "end", choice: each, reason: "cancelled" });
    live.listener.event({ kind: "done" });
    this.#end(live);
  }

  #fail(live: Live, error: Error): void {
    if (live.ended) return;
    live.listener.failed(error);
    this.#end(live);
  }

  #end(live: Live): void {
    live.ended = true;
    this.#live.delete(live.id);
    if (live.lease) this.#owner.ended(live.lease);
    this.#owner.woke();
  }

  #later(act: () => void): void {
    this.#between.push(act);
    this.#owner.woke();
  }
}

function* indices({ choices = 1 }: TextRequest): Generator<number> {
  for (let choice = 0; choice < choices; choice++) yield choice;
}

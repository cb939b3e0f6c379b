/**
 * Where a server is in its life: loading, ready, draining. Its socket opens at once, so that
 * whoever watches it sees which.
 *
 * @module
 */
import { Hono } from "hono";
import type { MiddlewareHandler } from "hono";
import { ApiError } from "../errors.ts";

/** What `/health` says. */
export type ServerState = "loading" | "ready" | "draining" | "failed";

const MESSAGES = {
  loading: "the model is being loaded",
  draining: "the server is shutting down",
  failed: "the GPU is lost: start the server again",
} as const;

/** Milliseconds after which a client may try again. */
const RETRY_MS = { loading: 1_000, draining: 5_000, failed: 30_000 } as const;

/** The state, and what depends on it. */
export class Lifecycle {
  /** Whether a server that was ready can serve no more. */
  hasFailed: () => boolean = () => false;
  #state: ServerState = "loading";

  /** As of now. */
  get state(): ServerState {
    return this.#state === "ready" && this.hasFailed() ? "failed" : this.#state;
  }

  /** Goes on to the next part of its life. */
  set state(state: ServerState) {
    this.#state = state;
  }

  /** What a request is told that cannot be served now; undefined when it can. */
  refusal(): ApiError | undefined {
    const { state } = this;
    if (state === "ready") return undefined;
    return new ApiError(503, `Cannot serve the request now: ${MESSAGES[state]}`, {
      code: state,
      retryAfterMs: RETRY_MS[state],
    });
  }

  /** Lets requests through while the server is ready. */
  gate(): MiddlewareHandler {
    return async (_c, next) => {
      const refusal = this.refusal();
      if (refusal) throw refusal;
      await next();
    };
  }
}

/** `GET /health`: 200 when requests are served, else 503. */
export function health(lifecycle: Lifecycle): Hono {
  return new Hono().get("/", (c) => {
    const { state } = lifecycle;
    return c.json({ status: state === "ready" ? "ok" : state }, state === "ready" ? 200 : 503);
  });
}

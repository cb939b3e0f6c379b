/**
 * The life of a request: its share of the server, and all that may end it early.
 *
 * @module
 */
import type { AdmittedWork, ServeDeps } from "./deps.ts";
import { ApiError } from "./errors.ts";

/** What a scope needs. */
export type ScopeDeps = Pick<ServeDeps, "admission" | "deadlineMs" | "shutdown">;

/**
 * Holds a request's share from its admission to its end. Its signal aborts when the client goes,
 * the deadline passes, the server ends or the work fails; the reason says which.
 */
export class RequestScope extends AbortController {
  readonly #release: () => void;
  readonly #deadline: ReturnType<typeof setTimeout>;
  readonly #listening = new AbortController();
  readonly #deferred: (() => void)[] = [];

  /** Takes the request in. @throws {ApiError} As `Admission.admit`, and when it has ended. */
  constructor(deps: ScopeDeps, request: Request, work: AdmittedWork) {
    super();
    if (deps.shutdown.aborted) throw deps.shutdown.reason;
    if (request.signal.aborted) throw clientGone();
    this.#release = deps.admission.admit(work);
    const { signal } = this.#listening;
    request.signal.addEventListener("abort", () => this.abort(clientGone()), { signal });
    deps.shutdown.addEventListener("abort", () => this.abort(deps.shutdown.reason), { signal });
    this.#deadline = setTimeout(() => {
      const message = `Cannot finish the request: want an end within ${deps.deadlineMs} ms: ` +
        "it is not there yet";
      this.abort(new ApiError(504, message, { code: "deadline_exceeded" }));
    }, deps.deadlineMs);
  }

  /** Calls back once, at the request's end. */
  defer(act: () => void): void {
    if (this.#listening.signal.aborted) act();
    else this.#deferred.push(act);
  }

  /** The request has ended: gives its share back. Without effect a second time. */
  close(): void {
    if (this.#listening.signal.aborted) return;
    this.#listening.abort();
    clearTimeout(this.#deadline);
    this.#release();
    for (const act of this.#deferred.splice(0)) act();
  }
}

/** Nobody reads this one; the log does. */
export function clientGone(): ApiError {
  return new ApiError(499, "The client has gone", { code: "cancelled" });
}

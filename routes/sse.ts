/**
 * Server-sent events as OpenAI's clients read them: one line of JSON each, `[DONE]` last.
 *
 * @module
 */
import type { Context } from "hono";
import { type SSEStreamingApi, streamSSE } from "hono/streaming";
import type { ServeDeps } from "./deps.ts";
import { logError, toApiError } from "./errors.ts";
import { clientGone, type RequestScope } from "./scope.ts";

/** What a stream needs. */
export type SseDeps = Pick<ServeDeps, "logger" | "pingMs">;

/** Sends an event; fulfilled when the client has room for more. */
export type Send = (data: unknown, event?: string) => Promise<void>;

/**
 * Streams what `produce` sends. When it throws, the client is told in a last event of the form of
 * an error's body; when the client goes, the scope aborts. The scope is closed at the end.
 */
export function sse(
  c: Context,
  { deps, scope, produce }: {
    deps: SseDeps;
    scope: RequestScope;
    produce: (send: Send) => Promise<void>;
  },
): Response {
  return streamSSE(c, async (stream) => {
    stream.onAbort(() => scope.abort(clientGone()));
    const writer = new EventWriter(stream, scope.signal);
    const ping = setInterval(() => writer.ping(), deps.pingMs);
    try {
      await produce((data, event) => writer.send(JSON.stringify(data), event));
      await writer.send("[DONE]");
    } catch (thrown) {
      scope.close(); // its client may take long to read the last event
      const error = toApiError(thrown);
      // Hono's own handler would send the bare message, which clients parse as JSON.
      if (error.status === 499) deps.logger.info("client has gone", { path: c.req.path });
      else {
        logError(deps.logger, error);
        await writer.sendLast(JSON.stringify(error.body));
      }
    } finally {
      clearInterval(ping);
      scope.close();
    }
  });
}

/** Writes one thing after the other, and leaves pings out while the client is slow to read. */
class EventWriter {
  readonly #stream: SSEStreamingApi;
  readonly #signal: AbortSignal;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(stream: SSEStreamingApi, signal: AbortSignal) {
    this.#stream = stream;
    this.#signal = signal;
  }

  /** @throws The signal's reason once it has aborted, also while the client does not read. */
  async send(data: string, event?: string): Promise<void> {
    this.#signal.throwIfAborted();
    await this.#unlessAborted(this.#write(frame(data, event)));
  }

  /** What ends a stream that failed; the client may have stopped reading, so nobody waits. */
  async sendLast(data: string): Promise<void> {
    const written = this.#write(frame(data) + frame("[DONE]"));
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, LAST_MS));
    await Promise.race([written, late]);
    clearTimeout(timer);
  }

  /** A comment, which clients pass over. */
  ping(): void {
    if (this.#waiting === 0) void this.#write(": ping\n\n");
  }

  async #write(text: string): Promise<void> {
    this.#waiting++;
    // Prompts of one request write side by side; an event must not be cut by another.
    const written = this.#last.then(() => this.#stream.write(text));
    this.#last = written;
    await written;
    this.#waiting--;
  }

  async #unlessAborted(written: Promise<void>): Promise<void> {
    const signal = this.#signal;
    let onAbort = () => {};
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(signal.reason);
      signal.addEventListener("abort", onAbort);
    });
    try {
      await Promise.race([written, aborted]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }
}

/** How long a client may take to read that its stream has failed. */
const LAST_MS = 5000;

function frame(data: string, event?: string): string {
  return `${event === undefined ? "" : `event: ${event}\n`}data: ${data}\n\n`;
}

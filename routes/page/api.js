/**
 * Calls of the server's HTTP interface.
 *
 * @module
 */
import { apiKey } from "./session.js";
import { EventParser } from "./sse.js";
import { faultOf } from "./values.js";

/** What the server refused or could not do. */
export class ApiFailure extends Error {
  /**
   * @param {{ message: string, param: string | null, code: string | null }} fault
   * @param {number} status 0 where there was no answer
   */
  constructor({ message, param, code }, status) {
    super(message);
    this.param = param;
    this.code = code;
    this.status = status;
  }
}

/**
 * Gets JSON.
 *
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 * @throws {ApiFailure}
 */
export async function getJson(path, signal) {
  return await (await call(path, { signal: signal ?? null })).json();
}

/**
 * Posts JSON, and reads JSON.
 *
 * @param {string} path
 * @param {unknown} body
 * @param {{ signal?: AbortSignal, headers?: Record<string, string> }} [options]
 * @returns {Promise<any>}
 * @throws {ApiFailure}
 */
export async function postJson(path, body, options = {}) {
  return await (await post(path, body, options)).json();
}

/**
 * Posts JSON, and reads the events of a stream up to its [DONE].
 *
 * @param {string} path
 * @param {unknown} body
 * @param {{ signal?: AbortSignal }} [options]
 * @returns {AsyncGenerator<{ event: string, data: any }, void>}
 * @throws {ApiFailure} Also when the stream says that it failed, or ends before its end.
 */
export async function* postEvents(path, body, options = {}) {
  const response = await post(path, body, options);
  const parser = new EventParser();
  const text = /** @type {ReadableStream<Uint8Array<ArrayBuffer>>} */ (response.body)
    .pipeThrough(new TextDecoderStream());
  const reader = text.getReader(); // not every browser iterates streams
  try {
    while (true) {
      const { value, done } = await reader.read();
      if (done) break;
      for (const { event, data } of parser.push(value)) {
        if (data === "[DONE]") return;
        const parsed = JSON.parse(data);
        if (parsed.error) throw new ApiFailure(faultOf(parsed, response.status), response.status);
        yield { event, data: parsed };
      }
    }
  } finally {
    void reader.cancel().catch(() => {});
  }
  throw broken("the connection ended before the answer did");
}

/**
 * @param {string} path
 * @param {unknown} body
 * @param {{ signal?: AbortSignal, headers?: Record<string, string> }} options
 */
function post(path, body, { signal, headers = {} }) {
  return call(path, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
    signal: signal ?? null,
  });
}

/**
 * @param {string} path
 * @param {RequestInit} init
 * @returns {Promise<Response>}
 */
async function call(path, init) {
  const headers = new Headers(init.headers);
  const key = apiKey();
  if (key !== "") headers.set("authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(path, { ...init, headers, cache: "no-store" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw broken("it does not answer");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => undefined);
  throw new ApiFailure(faultOf(body, response.status), response.status);
}

/** @param {string} state */
function broken(state) {
  return new ApiFailure(
    { message: `Cannot reach the server: ${state}`, param: null, code: null },
    0,
  );
}

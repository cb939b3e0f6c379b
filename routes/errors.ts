/**
 * Errors as OpenAI's clients expect them: `{"error":{message,type,param,code}}`, all four always
 * there.
 *
 * @module
 */
import type { Context, ErrorHandler, NotFoundHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import type * as z from "zod";
import { stateOf, wantOf } from "../src/config/describe.ts";
import type { Logger } from "./deps.ts";
import type { ApiErrorBody } from "./schemas/errors.ts";

/** Statuses that this server answers errors with; 499 is for the log, its client has gone. */
export type ErrorStatus =
  | 400
  | 401
  | 403
  | 404
  | 405
  | 409
  | 410
  | 413
  | 415
  | 429
  | 499
  | 500
  | 503
  | 504;

/** What an error says beside its message. */
export interface ApiErrorOptions {
  /** Kind of error; without it, the status decides. */
  readonly type?: string | undefined;
  /** Parameter at fault, as a path: `logit_bias.50256`. */
  readonly param?: string | undefined;
  /** For programs: `model_not_found`, `context_length_exceeded`, … */
  readonly code?: string | undefined;
  /** Milliseconds until it may work; sent with 429 and 503. */
  readonly retryAfterMs?: number | undefined;
  /** What led to it; logged, never sent. */
  readonly cause?: unknown;
}

/** An error that may be told to a client. */
export class ApiError extends Error {
  /** Shown before the message. */
  override name = "ApiError";
  /** Of the response. */
  readonly status: ErrorStatus;
  /** Kind of error. */
  readonly type: string;
  /** Parameter at fault. */
  readonly param: string | null;
  /** For programs. */
  readonly code: string | null;
  /** Milliseconds until it may work. */
  readonly retryAfterMs: number | undefined;

  /** The message is for people. */
  constructor(status: ErrorStatus, message: string, options: ApiErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.status = status;
    this.type = options.type ?? TYPES[status];
    this.param = options.param ?? null;
    this.code = options.code ?? null;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** What is sent. */
  get body(): ApiErrorBody {
    const { message, type, param, code } = this;
    return { error: { message, type, param, code } };
  }

  /** What is sent, with its status and headers. */
  response(): Response {
    const headers = new Headers();
    if (this.retryAfterMs !== undefined) {
      headers.set("retry-after-ms", String(Math.ceil(this.retryAfterMs)));
      headers.set("retry-after", String(Math.ceil(this.retryAfterMs / 1000)));
    }
    // The same request would meet the same conflict; openai-python would send it twice more.
    if (this.status === 409) headers.set("x-should-retry", "false");
    return Response.json(this.body, { status: this.status, headers });
  }
}

const TYPES: Readonly<Record<ErrorStatus, string>> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "invalid_request_error",
  405: "invalid_request_error",
  409: "conflict_error",
  410: "invalid_request_error",
  413: "invalid_request_error",
  415: "invalid_request_error",
  429: "overloaded",
  499: "cancelled",
  500: "server_error",
  503: "unavailable_error",
  504: "deadline_exceeded",
};

/** What a client is told when the fault is not its own; what happened is in the log. */
const PUBLIC_MESSAGE = "The server had an error while processing the request";

/** The first thing that is wrong with a body, in the words of the configuration's errors. */
export function invalidBody(error: z.ZodError, body: unknown): ApiError {
  const [path, issue] = innermost(error.issues[0]!);
  const state = stateOf(valueAt(body, path));
  const param = path.length > 0 ? path.map(String).join(".") : undefined;
  const where = param === undefined ? "the body" : `'${param}'`;
  const code = state === "it is missing" ? "missing_required_parameter" : "invalid_value";
  return new ApiError(400, `Cannot use ${where}: want ${wantOf(issue)}: ${state}`, { param, code });
}

/** Through unions, to the issue of the branch that came furthest into the value. */
function innermost(
  issue: z.core.$ZodIssue,
  above: readonly PropertyKey[] = [],
): [path: readonly PropertyKey[], issue: z.core.$ZodIssue] {
  const path = [...above, ...issue.path];
  if (issue.code !== "invalid_union") return [path, issue];
  const deepest = issue.errors.flat()
    .map((inner) => innermost(inner, path))
    .reduce<[readonly PropertyKey[], z.core.$ZodIssue] | undefined>(
      (best, next) => best === undefined || next[0].length > best[0].length ? next : best,
      undefined,
    );
  return deepest !== undefined && deepest[0].length > path.length ? deepest : [path, issue];
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Record<PropertyKey, unknown>)[key];
  }
  return at;
}

/** What to tell of anything that was thrown. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  // What a request asks of the model and cannot have; the message is made for whoever asked. The
  // language's own errors do not begin so.
  if (error instanceof RangeError && error.message.startsWith("Cannot ")) {
    return new ApiError(400, error.message, { cause: error });
  }
  // Hono's limit, met while the body was read; its middleware replaces the response.
  if (error instanceof Error && error.name === "BodyLimitError") {
    return new ApiError(413, "Cannot read the body: want a smaller one: it is too large");
  }
  if (error instanceof HTTPException && Object.hasOwn(TYPES, error.status)) {
    return new ApiError(error.status as ErrorStatus, error.message, { cause: error });
  }
  return new ApiError(500, PUBLIC_MESSAGE, { cause: error });
}

/** Writes to the log what a client is not told. */
export function logError(logger: Logger, error: ApiError): void {
  if (error.status < 500 || error.status === 503) return;
  logger.error("request failed", { status: error.status, message: error.message }, error.cause);
}

/** `app.onError`: any thrown error becomes a response. */
export function errorHandler(logger: Logger): ErrorHandler {
  return (thrown) => {
    const error = toApiError(thrown);
    logError(logger, error);
    return error.response();
  };
}

/** `app.notFound`: no such route. */
export function notFoundHandler(): NotFoundHandler {
  return (c: Context) => {
    const message = `Cannot ${c.req.method} ${c.req.path}: there is no such route`;
    return new ApiError(404, message, { code: "unknown_url" }).response();
  };
}

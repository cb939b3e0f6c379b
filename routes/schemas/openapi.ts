/**
 * Parts of OpenAPI operations that many routes share.
 *
 * @module
 */
import type * as z from "zod";
import type { ZodOpenApiRequestBodyObject, ZodOpenApiResponsesObject } from "zod-openapi";
import type { ErrorStatus } from "../errors.ts";
import { apiErrorSchema } from "./errors.ts";

/** A body of JSON. */
export function jsonBody(schema: z.ZodType): ZodOpenApiRequestBodyObject {
  return { required: true, content: { "application/json": { schema } } };
}

/** What an operation answers with. */
export interface ResponsesOptions {
  /** Of the good answer. */
  readonly description: string;
  /** Whether it can be a stream of events. @default false */
  readonly isStream?: boolean;
  /** Status of the good answer. @default 200 */
  readonly status?: 200 | 201;
  /** Those that tell an error. @default none */
  readonly errors?: readonly ErrorStatus[];
}

/** The good answer, and errors. */
export function responses(schema: z.ZodType, options: ResponsesOptions): ZodOpenApiResponsesObject {
  const { description, isStream = false, status = 200, errors = [] } = options;
  const stream = {
    "text/event-stream": { schema: { type: "string", description: "data: {…} events" } },
  } as const;
  const faults = errors.map((status) =>
    [String(status), {
      description: WORDS[status],
      content: { "application/json": { schema: apiErrorSchema } },
    }] as const
  );
  return {
    [status]: {
      description,
      content: { "application/json": { schema }, ...(isStream ? stream : {}) },
    },
    ...Object.fromEntries(faults),
  };
}

const WORDS: Readonly<Record<ErrorStatus, string>> = {
  400: "The request cannot be done; `param` says which part of it",
  401: "No key, or an unknown one",
  403: "The key may not do this",
  404: "There is no such thing",
  405: "Not with this method",
  409: "It contradicts what is there",
  410: "It was there, and is no longer kept",
  413: "The body is too large",
  415: "The body is not application/json",
  429: "Too much is under way; `retry-after-ms` says when there should be room",
  499: "The client has gone",
  500: "A fault of the server",
  503: "The server starts or ends, or has no model",
  504: "It took longer than the deadline",
};

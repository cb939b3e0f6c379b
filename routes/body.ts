/**
 * Bodies of requests: JSON in UTF-8 that fits a schema.
 *
 * @module
 */
import type { Context } from "hono";
import type * as z from "zod";
import { ApiError, invalidBody } from "./errors.ts";

/**
 * The body, checked.
 *
 * @throws {ApiError} 415 when it is not said to be JSON, 400 when it is none or does not fit.
 */
export async function readBody<S extends z.ZodType>(c: Context, schema: S): Promise<z.output<S>> {
  const type = c.req.header("content-type");
  // A page of another site can send any other type without asking, so none is taken to be JSON.
  if (type === undefined || !/^application\/json\s*(;|$)/i.test(type.trim())) {
    const state = type === undefined ? "it has none" : `got ${JSON.stringify(type)}`;
    const message = `Cannot read the body: want the content type application/json: ${state}`;
    throw new ApiError(415, message, { code: "unsupported_media_type" });
  }
  const body = parse(decode(await c.req.arrayBuffer()));
  const result = schema.safeParse(body);
  if (!result.success) throw invalidBody(result.error, body);
  return result.data;
}

function decode(bytes: ArrayBuffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    const message = "Cannot read the body: want UTF-8: it has other bytes";
    throw new ApiError(400, message, { code: "invalid_utf8", cause });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const state = text.trim() === "" ? "it is empty" : (cause as Error).message;
    const message = `Cannot read the body: want JSON: ${state}`;
    throw new ApiError(400, message, { code: "invalid_json", cause });
  }
}

/**
 * What to tell of parameters that have no effect: those that the schema does not know. One that is
 * null, false or empty asks for nothing.
 *
 * @throws {ApiError} 400 when there is one and the body says `strict`.
 */
export function warningsOf(
  schema: z.ZodObject,
  body: Readonly<Record<string, unknown>>,
): string[] {
  const warnings: string[] = [];
  const known = new Set(Object.keys(schema.shape));
  for (const [key, value] of Object.entries(body)) {
    if (known.has(key) || asksForNothing(value)) continue;
    const message = `parameter '${key}' is not supported and has no effect`;
    if (body.strict === true) {
      throw new ApiError(
        400,
        `Cannot use '${key}': want known parameters, as 'strict' is set: ` +
          message,
        { param: key, code: "unsupported_parameter" },
      );
    }
    warnings.push(message);
  }
  return warnings;
}

function asksForNothing(value: unknown): boolean {
  if (value === null || value === false || value === "") return true;
  return Array.isArray(value) && value.length === 0;
}

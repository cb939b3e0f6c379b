/**
 * API keys on requests: `Authorization: Bearer …`.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { type ApiKey, type ApiKeys, mayDo, type Scope } from "../../src/config/api_keys.ts";
import { ApiError } from "../errors.ts";

declare module "hono" {
  interface ContextVariableMap {
    /** The key of the request, where keys are asked for. */
    apiKey: ApiKey;
  }
}

/** The keys as of now; undefined where none are asked for. */
export type CurrentKeys = () => Promise<ApiKeys | undefined>;

/** Lets only keys with a scope through: always the same, or what a method and a path ask for. */
export function requireScope(
  currentKeys: CurrentKeys,
  wanted: Scope | ((method: string, path: string) => Scope),
): MiddlewareHandler {
  return async (c, next) => {
    const scope = typeof wanted === "string" ? wanted : wanted(c.req.method, c.req.path);
    const keys = await currentKeys();
    if (keys === undefined) return await next();
    const text = /^Bearer +(\S+)$/i.exec(c.req.header("authorization") ?? "")?.[1];
    if (text === undefined) {
      throw new ApiError(401, "Cannot serve the request: an API key: send Authorization: Bearer", {
        code: "invalid_api_key",
      });
    }
    const key = keys.find(text);
    if (!key) {
      throw new ApiError(401, "Cannot serve the request: a valid API key: this one is not", {
        code: "invalid_api_key",
      });
    }
    if (!mayDo(key, scope)) {
      const message = `Cannot serve the request: a key with scope ${scope}: ${key.id} has ` +
        key.scopes.join(", ");
      throw new ApiError(403, message, { code: "insufficient_scope" });
    }
    c.set("apiKey", key);
    await next();
  };
}

/** Id of the request's key; undefined where none are asked for. */
export function apiKeyIdOf(c: Context): string | undefined {
  return (c.get("apiKey") as ApiKey | undefined)?.id;
}

/**
 * What a key must be allowed for each route.
 *
 * @module
 */
import type { Scope } from "../../src/config/api_keys.ts";

/** Who labels may see what is to be labelled, but not what others said. */
const FOR_LABELERS = "/v1/feedback/next";

/**
 * The scope that a request asks for.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { scopeOf } from "./scopes.ts";
 *
 * assertEquals(scopeOf("POST", "/v1/feedback"), "feedback:write");
 * assertEquals(scopeOf("GET", "/v1/feedback/stats"), "feedback:read");
 * assertEquals(scopeOf("POST", "/v1/completions"), "infer");
 * assertEquals(scopeOf("PUT", "/v1/models/tiny/current"), "admin");
 * ```
 */
export function scopeOf(method: string, path: string): Scope {
  if (/^\/v1\/(training|audit)(\/|$)/.test(path)) return "admin";
  if (/^\/v1\/models\/[^/]+\/current$/.test(path)) return "admin";
  if (!/^\/v1\/feedback(\/|$)/.test(path)) return "infer";
  if (method === "DELETE") return "admin";
  if (method === "POST" || path === FOR_LABELERS) return "feedback:write";
  return "feedback:read";
}

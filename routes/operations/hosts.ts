/**
 * The Host header: a page of a stranger that has its name resolve to this machine cannot call the
 * server from a visitor's browser (DNS rebinding).
 *
 * @module
 */
import type { MiddlewareHandler } from "hono";
import { ApiError } from "../errors.ts";

/** Names that always mean this machine. */
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

/**
 * Refuses requests to another host.
 *
 * @param allowed names beside the local ones, without a port; "*" is any
 */
export function hostCheck(allowed: readonly string[]): MiddlewareHandler {
  const names = new Set([...LOCAL, ...allowed].map((name) => name.toLowerCase()));
  return async (c, next) => {
    const host = c.req.header("host") ?? "";
    const name = host.replace(/:\d+$/, "").toLowerCase();
    if (!names.has("*") && !names.has(name)) {
      throw new ApiError(
        403,
        `Cannot serve host ${JSON.stringify(host)}: one of ${[...names].join(", ")}; ` +
          "--allow-host adds one",
        { code: "host_not_allowed" },
      );
    }
    await next();
  };
}

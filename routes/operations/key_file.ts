/**
 * The keys of a running server: the file is read again when it changes, so that a key that was
 * revoked is refused within a second.
 *
 * @module
 */
import { ApiKeys } from "../../src/config/api_keys.ts";
import type { Logger } from "../deps.ts";
import type { CurrentKeys } from "./auth.ts";

const CHECK_EVERY_MS = 1_000;

/**
 * Reads the file now, and again when it has changed.
 *
 * A file that has become unreadable changes nothing but for a line in the log: a half-written file
 * must neither open the server nor shut its users out.
 *
 * @throws {CannotError} When the file cannot be read the first time.
 */
export async function watchKeys(
  path: string,
  { logger, nowMs }: { logger: Logger; nowMs: () => number },
): Promise<CurrentKeys> {
  let keys = await ApiKeys.read(path);
  let version = await versionOf(path);
  let checkedMs = nowMs();
  return async () => {
    if (nowMs() - checkedMs >= CHECK_EVERY_MS) {
      checkedMs = nowMs();
      const now = await versionOf(path);
      if (now !== version) {
        try {
          keys = await ApiKeys.read(path);
          version = now;
        } catch (error) {
          logger.error("keys unreadable, the last ones stay", { path }, error);
        }
      }
    }
    return keys;
  };
}

/** Changes when the file does. */
async function versionOf(path: string): Promise<string> {
  try {
    const { mtime, size, ino } = await Deno.stat(path);
    return `${mtime?.getTime()} ${size} ${ino}`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "none";
    throw error;
  }
}

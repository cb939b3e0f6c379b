/**
 * The server's log, one line an event, on stderr: JSON where a program reads it, plain where a
 * person does. Texts of prompts and answers are never in it.
 *
 * @module
 */
import {
  configureSync,
  getLogger,
  getTextFormatter,
  jsonLinesFormatter,
  type LogRecord,
} from "@logtape/logtape";
import type { MiddlewareHandler } from "hono";
import type { Logger } from "../deps.ts";

/** Where lines go. */
export type WriteLine = (line: string) => void;

const CATEGORY = "brachio";
const plain = getTextFormatter({ timestamp: "time", category: () => "" });

/**
 * Makes the log of this process.
 *
 * @param options `json`: lines of JSON, else for people
 */
export function createLogger(options: { json: boolean; write?: WriteLine }): Logger {
  const { json, write = (line) => Deno.stderr.writeSync(new TextEncoder().encode(line)) } = options;
  const format = (record: LogRecord) => {
    if (json) return jsonLinesFormatter(record);
    const fields = Object.entries(record.properties).map(([key, value]) =>
      ` ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`
    );
    return plain(record).trimEnd() + fields.join("") + "\n";
  };
  configureSync({
    reset: true,
    sinks: { stderr: (record) => write(format(record)) },
    loggers: [
      { category: CATEGORY, lowestLevel: "info", sinks: ["stderr"] },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["stderr"] },
    ],
  });
  const log = getLogger(CATEGORY);
  return {
    info: (event, fields = {}) => log.info(event, fields),
    warn: (event, fields = {}) => log.warn(event, fields),
    error(event, fields = {}, error) {
      const cause = error instanceof Error ? { error: error.stack ?? error.message } : {};
      log.error(event, { ...fields, ...cause });
    },
  };
}

/** Logs each request when its response begins: who, what, how it ended, how long it took. */
export function accessLog(logger: Logger, nowMs: () => number): MiddlewareHandler {
  return async (c, next) => {
    const startMs = nowMs();
    await next();
    const status = c.req.raw.signal.aborted ? 499 : c.res.status;
    logger.info("request", {
      id: c.get("requestId"),
      method: c.req.method,
      path: c.req.path,
      status,
      ms: Math.round(nowMs() - startMs),
      ...(c.get("apiKey") === undefined ? {} : { key: c.get("apiKey").id }),
    });
  };
}

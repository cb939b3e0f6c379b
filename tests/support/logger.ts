/**
 * Logs for tests of the server.
 *
 * @module
 */
import type { Logger } from "../../routes/deps.ts";

/** A line of the log. */
export interface LogLine {
  /** How grave it is. */
  level: "info" | "warn" | "error";
  /** What happened. */
  event: string;
  /** More about it. */
  fields: Readonly<Record<string, unknown>>;
}

/** A log that nobody reads. */
export function silentLogger(): Logger {
  return recordingLogger([]);
}

/** A log whose lines are put into a list. */
export function recordingLogger(lines: LogLine[]): Logger {
  const at = (level: LogLine["level"]) =>
  (
    event: string,
    fields: Readonly<Record<string, unknown>> = {},
  ): void => {
    lines.push({ level, event, fields });
  };
  return { info: at("info"), warn: at("warn"), error: at("error") };
}

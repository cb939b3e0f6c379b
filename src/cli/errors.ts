/**
 * What the command line says when something goes wrong: one line on stderr, and a status.
 *
 * @module
 */

import { CommanderError } from "commander";
import { CannotError } from "../config/cannot.ts";
import { NoAdapterError } from "../gpu/adapter.ts";

/** Something the user asked for that cannot be: said without a stack, with status 2. */
export class UsageError extends Error {
  /** Shown before the message. */
  override name = "UsageError";
}

const SYSTEM_ERRORS = [
  Deno.errors.NotFound,
  Deno.errors.PermissionDenied,
  Deno.errors.NotCapable,
  Deno.errors.AlreadyExists,
  Deno.errors.IsADirectory,
  Deno.errors.NotADirectory,
  Deno.errors.AddrInUse,
];

/** The line to print (none where the command printed its own) and the exit status. */
export interface Failure {
  /** Without the program's name; undefined where nothing is left to say. */
  line: string | undefined;
  /** 0 after `--help`, 2 where the user can cure it, 1 otherwise. */
  status: number;
}

/** Turns whatever a command threw into what the user sees. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof CommanderError) {
    // Help is thrown too; commander has then printed it, and its messages begin with "error: ".
    if (error.exitCode === 0) return { line: undefined, status: 0 };
    return { line: firstLine(error.message.replace(/^error: /, "")), status: 2 };
  }
  if (
    error instanceof UsageError || error instanceof NoAdapterError ||
    error instanceof CannotError
  ) {
    return { line: firstLine(error.message), status: 2 };
  }
  if (SYSTEM_ERRORS.some((kind) => error instanceof kind)) {
    return { line: firstLine((error as Error).message), status: 2 };
  }
  const message = error instanceof Error ? error.message : String(error);
  return {
    line: `${firstLine(message)} (unexpected; BRACHIO_DEBUG=1 shows where)`,
    status: 1,
  };
}

function firstLine(text: string): string {
  return text.trim().replaceAll(/\s*\n\s*(?=\()/g, " ").replaceAll(/\s*\n\s*/g, "; ");
}

/**
 * Runs a command's main function, and ends the process with the right line and status when it
 * throws.
 *
 * @param main returns the exit status, or nothing for 0
 */
export async function runMain(main: () => Promise<number | void>): Promise<never> {
  try {
    Deno.exit(await main() ?? 0);
  } catch (error) {
    const { line, status } = describeFailure(error);
    if (status === 1 && Deno.env.get("BRACHIO_DEBUG") === "1") console.error(error);
    else if (line !== undefined) console.error(`brachio: ${line}`);
    Deno.exit(status);
  }
}

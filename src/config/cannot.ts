/**
 * Failures that whoever runs the program can cure: said in one line, without a stack.
 *
 * @module
 */

/** Thrown where something asked for cannot be done; the message is all there is to say. */
export class CannotError extends Error {
  /** Shown before the message. */
  override name = "CannotError";

  /** The message is "Cannot <act>: <want>: <state>". */
  constructor(act: string, want: string, state: string, options?: ErrorOptions) {
    super(`Cannot ${act}: ${want}: ${state}`, options);
  }

  /** One error for several failures, a line each. */
  static all(errors: readonly [CannotError, ...CannotError[]]): CannotError {
    const [first] = errors;
    first.message = [...new Set(errors.map((error) => error.message))].join("\n");
    return first;
  }
}

/** Whether the disk, the quota or the size limit of a file is exhausted. */
export function isDiskFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = (error as { code?: string }).code;
  return code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG" ||
    /\(os error (28|122|27)\)/.test(error.message);
}

/** What is the matter with a file, in a few words, from what the system said. */
export function systemState(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "no such file or folder";
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  if (error instanceof Deno.errors.NotCapable) return firstLine(error.message);
  if (error instanceof Deno.errors.IsADirectory) return "it is a folder";
  if (error instanceof Deno.errors.NotADirectory) return "a part of the path is not a folder";
  if (isDiskFull(error)) return "the disk is full";
  return error instanceof Error ? firstLine(error.message) : String(error);
}

/**
 * Runs `work`; a failure of the system becomes a {@linkcode CannotError} with the same act and
 * want.
 */
export async function orCannot<T>(
  act: string,
  want: string,
  work: () => T | Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CannotError) throw error;
    throw new CannotError(act, want, systemState(error), { cause: error });
  }
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0]!.trim();
}

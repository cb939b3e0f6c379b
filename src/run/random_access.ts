/**
 * Bytes read by their position: a file, or an array that holds the same.
 *
 * @module
 */

import { CannotError, systemState } from "../config/cannot.ts";

/**
 * Something of a known size that is read anywhere. Reads are synchronous: pages of a disk cache.
 */
export interface RandomAccess {
  /** What messages call it. */
  readonly label: string;
  /** All of its bytes. */
  readonly sizeBytes: number;
  /** Fills `target` from `offsetBytes` on. @throws {CannotError} where the bytes end before that */
  read(target: Uint8Array, offsetBytes: number): void;
  /** Gives the file back; harmless when repeated. */
  close(): void;
}

/** Random access to an array. */
export function bytesAccess(bytes: Uint8Array, label: string): RandomAccess {
  return {
    label,
    sizeBytes: bytes.length,
    read(target, offsetBytes) {
      if (offsetBytes + target.length > bytes.length) throw ended(this, target, offsetBytes);
      target.set(bytes.subarray(offsetBytes, offsetBytes + target.length));
    },
    close() {},
  };
}

/** Random access to a file. @throws {CannotError} unless it is a file that can be read */
export function fileAccess(path: string, label = path): RandomAccess {
  const file = attempt(label, () => Deno.openSync(path, { read: true }));
  let sizeBytes: number;
  try {
    const stat = attempt(label, () => file.statSync());
    if (!stat.isFile) throw new CannotError(`read ${label}`, "want a file", "it is not one");
    sizeBytes = stat.size;
  } catch (error) {
    file.close();
    throw error;
  }
  let isOpen = true;
  return {
    label,
    sizeBytes,
    read(target, offsetBytes) {
      attempt(label, () => file.seekSync(offsetBytes, Deno.SeekMode.Start));
      for (let at = 0; at < target.length;) {
        const count = attempt(label, () => file.readSync(target.subarray(at)));
        if (count === null) throw ended(this, target, offsetBytes);
        at += count;
      }
    },
    close() {
      if (isOpen) file.close();
      isOpen = false;
    },
  };
}

function attempt<T>(label: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new CannotError(`read ${label}`, "want a readable file", systemState(error), {
      cause: error,
    });
  }
}

function ended(from: RandomAccess, target: Uint8Array, offsetBytes: number): CannotError {
  return new CannotError(
    `read ${from.label}`,
    `want bytes ${offsetBytes} to ${offsetBytes + target.length}`,
    `it ends before that (${from.sizeBytes} bytes when it was opened)`,
  );
}

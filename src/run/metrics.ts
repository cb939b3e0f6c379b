/**
 * `metrics.jsonl`: one JSON object a line, appended as training goes on.
 *
 * @module
 */

import { CannotError, isDiskFull, systemState } from "../config/cannot.ts";

const LINE_FEED = 0x0a;
const TAIL_BYTES = 1 << 20; // searched for the last whole line

/** A line: numbers and words about one step. NaN and infinities are written as null. */
export interface MetricsRecord {
  /** Step of the run. */
  step: number;
  /** `train/loss`, `val/loss`, `lr`, `tokens_per_second`, … */
  [name: string]: number | string | boolean | null;
}

/** The metrics of a run that is being written. */
export class MetricsLog {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  #sizeBytes: number;

  /** Opens the file, creating it where it is missing; a torn last line is dropped. */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#file = Deno.openSync(path, { read: true, write: true, create: true });
    } catch (error) {
      throw this.#failure(error);
    }
    this.#sizeBytes = this.#file.statSync().size;
    this.cutTo(this.#wholeLinesBytes());
  }

  /** Length in bytes; all of it whole lines. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Appends a line, or nothing of it where the disk is full. */
  append(record: MetricsRecord): void {
    const bytes = new TextEncoder().encode(JSON.stringify(record) + "\n");
    try {
      this.#file.seekSync(this.#sizeBytes, Deno.SeekMode.Start);
      for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
    } catch (error) {
      this.#file.truncateSync(this.#sizeBytes);
      throw this.#failure(error);
    }
    this.#sizeBytes += bytes.length;
  }

  /** Drops all lines after the first `sizeBytes` bytes. */
  cutTo(sizeBytes: number): void {
    if (sizeBytes >= this.#sizeBytes) return;
    this.#file.truncateSync(sizeBytes);
    this.#sizeBytes = sizeBytes;
  }

  /** Brings all lines to the disk. */
  async sync(): Promise<void> {
    try {
      await this.#file.sync();
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Closes the file. */
  close(): void {
    this.#file.close();
  }

  /** Bytes up to the last line that is whole: has its line feed and is JSON. */
  #wholeLinesBytes(): number {
    const tail = new Uint8Array(Math.min(this.#sizeBytes, TAIL_BYTES));
    const tailStart = this.#sizeBytes - tail.length;
    this.#file.seekSync(tailStart, Deno.SeekMode.Start);
    for (let at = 0; at < tail.length;) at += this.#file.readSync(tail.subarray(at)) ?? 1;
    let end = tail.lastIndexOf(LINE_FEED) + 1;
    while (end > 0) {
      const start = tail.subarray(0, end - 1).lastIndexOf(LINE_FEED) + 1;
      if (isRecord(new TextDecoder().decode(tail.subarray(start, end)))) break;
      end = start;
    }
    if (end > 0 || tailStart === 0) return tailStart + end;
    throw new CannotError(
      `write ${this.#path}`,
      "want lines of JSON with a step",
      `its last ${TAIL_BYTES} bytes have none`,
    );
  }

  #failure(error: unknown): CannotError {
    return new CannotError(
      `write ${this.#path}`,
      isDiskFull(error) ? "want room on the disk" : "want a file that can be written",
      systemState(error),
      { cause: error },
    );
  }
}

/**
 * All lines of a metrics file; a last line that a crash cut off is left out.
 *
 * @throws {CannotError} naming the line, where one before the last is no JSON
 */
export async function readMetrics(path: string): Promise<MetricsRecord[]> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw new CannotError(`read ${path}`, "want a readable file", systemState(error), {
      cause: error,
    });
  }
  return parseMetrics(text, path);
}

/** As {@linkcode readMetrics}, of a text. */
export function parseMetrics(text: string, label: string): MetricsRecord[] {
  const lines = text.split("\n");
  lines.pop(); // what follows the last line feed: nothing, or a torn line
  while (lines.length > 0 && !isRecord(lines.at(-1)!)) lines.pop(); // a power cut leaves such
  return lines.map((line, i) => {
    if (isRecord(line)) return JSON.parse(line) as MetricsRecord;
    throw new CannotError(`read ${label}`, `want JSON with a step in line ${i + 1}`, `got ${line}`);
  });
}

function isRecord(line: string): boolean {
  try {
    const value = JSON.parse(line) as unknown;
    return typeof value === "object" && value !== null &&
      Number.isFinite((value as Record<string, unknown>).step);
  } catch {
    return false;
  }
}

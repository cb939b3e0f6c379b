/**
 * The progress of a training run on a terminal, or as lines in a log.
 *
 * @module
 */
import type { StepResult } from "../train/step.ts";

/** What the rates are computed from, and where they are shown. */
export interface ProgressOptions {
  /** Steps of the whole run. */
  readonly totalSteps: number;
  /** Floating-point operations a token of training takes. */
  readonly flopsPerToken: number;
  /** What the adapter was measured to do a second. */
  readonly ceilingFlops: number;
  /** Where to print. @default stdout */
  readonly sink?: ProgressSink;
  /** A clock. @default performance.now */
  readonly nowMs?: () => number;
}

/** Takes what is printed. */
export interface ProgressSink {
  /** Whether a line can be written over. */
  readonly isTerminal: boolean;
  /** Takes text with its line feeds. */
  write(text: string): void;
}

const LOG_EVERY_MS = 5000;
/** The rates look back over about so much time: results arrive in bursts. */
const WINDOW_MS = 5000;

/** Prints a line a step where it can be overwritten, else one every few seconds. */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #sink: ProgressSink;
  readonly #nowMs: () => number;
  #lastMs: number;
  #printedMs = -Infinity;
  #isWarm = false;
  // Tokens and the time they took, both fading; undefined until one step was timed.
  #recent: { tokens: number; ms: number } | undefined;
  #isOpen = false;

  /** Starts the clock. */
  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#sink = options.sink ?? STDOUT;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#lastMs = this.#nowMs();
  }

  /** Takes a finished step. @returns tokens a second over the last seconds */
  step({ step, loss, tokens }: StepResult): number {
    const { totalSteps } = this.#options;
    const nowMs = this.#nowMs();
    const ms = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    // The first step compiles every kernel: it says nothing about those that follow.
    if (this.#isWarm) {
      const fading = Math.exp(-ms / WINDOW_MS);
      const { tokens: tokensBefore, ms: msBefore } = this.#recent ?? { tokens: 0, ms: 0 };
      this.#recent = { tokens: fading * tokensBefore + tokens, ms: fading * msBefore + ms };
    }
    this.#isWarm = true;
    const done = step + 1;
    const isDue = nowMs - this.#printedMs >= LOG_EVERY_MS || done === totalSteps;
    if (this.#sink.isTerminal || isDue) {
      this.#printedMs = nowMs;
      this.#print(
        `step ${done}/${totalSteps}  loss ${loss.toFixed(4)}${this.#rates(done, tokens)}`,
      );
    }
    return this.#tokensPerSecond ?? 1000 * tokens / Math.max(ms, 1e-3);
  }

  /** Prints a line that stays. */
  line(text: string): void {
    this.#sink.write(`${this.#isOpen ? ERASE : ""}${text}\n`);
    this.#isOpen = false;
    this.#lastMs = this.#nowMs(); // what was reported took time that no step did
  }

  get #tokensPerSecond(): number | undefined {
    return this.#recent && 1000 * this.#recent.tokens / Math.max(this.#recent.ms, 1e-3);
  }

  #rates(done: number, tokens: number): string {
    const { totalSteps, flopsPerToken, ceilingFlops } = this.#options;
    const rate = this.#tokensPerSecond;
    if (rate === undefined) return "";
    const percent = 100 * rate * flopsPerToken / ceilingFlops;
    return `  ${Math.round(rate).toLocaleString("en")} tokens/s  ` +
      `${percent.toFixed(percent < 9.95 ? 1 : 0)} % of the measured ceiling  ` +
      `${duration(1000 * (totalSteps - done) * tokens / rate)} left`;
  }

  #print(text: string): void {
    if (!this.#sink.isTerminal) return this.#sink.write(`${text}\n`);
    this.#sink.write(`${ERASE}${text}`);
    this.#isOpen = true;
  }
}

const ERASE = "\r\x1b[2K";

/** Standard output, written at once. */
export const STDOUT: ProgressSink = {
  isTerminal: Deno.stdout.isTerminal(),
  write(text) {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  },
};

/**
 * A time for people.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const times = [12_400, 59_500, 200_000, 3_720_000, 180_000_000].map(duration);
 * assertEquals(times, ["12 s", "1 min 00 s", "3 min 20 s", "1 h 02 min", "2 d 02 h"]);
 * ```
 */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const two = (value: number) => String(value).padStart(2, "0");
  if (hours >= 48) return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
  if (hours > 0) return `${hours} h ${two(minutes % 60)} min`;
  return minutes > 0 ? `${minutes} min ${two(seconds % 60)} s` : `${seconds} s`;
}

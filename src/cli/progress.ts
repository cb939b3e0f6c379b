/**
 * The progress of a training run on a terminal, or as lines in a log.
 *
 * @module
 */
import type { StepResult } from "../train/step.ts";

/** What the rates are computed from. */
export interface ProgressOptions {
  readonly firstStep: number;
  readonly totalSteps: number;
  /** Floating-point operations a token of training takes. */
  readonly flopsPerToken: number;
  /** What the adapter was measured to do a second. */
  readonly ceilingFlops: number;
}

const LOG_EVERY_MS = 5000;
/** Weight of the newest interval in the running rate. */
const NEWEST = 0.1;

/** Prints a line a step where it can be overwritten, else one every few seconds. */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #terminal = Deno.stdout.isTerminal();
  #lastMs = performance.now();
  #printedMs = -Infinity;
  #msPerToken: number | undefined;
  #open = false;

  constructor(options: ProgressOptions) {
    this.#options = options;
  }

  /** Takes a finished step. @returns tokens a second, smoothed */
  step({ step, loss, tokens }: StepResult): number {
    const { totalSteps, flopsPerToken, ceilingFlops } = this.#options;
    const nowMs = performance.now();
    const msPerToken = (nowMs - this.#lastMs) / tokens;
    this.#lastMs = nowMs;
    // The first interval holds the compilation of all kernels.
    const settled = this.#msPerToken !== undefined && step > this.#options.firstStep + 2;
    this.#msPerToken = settled
      ? NEWEST * msPerToken + (1 - NEWEST) * this.#msPerToken!
      : msPerToken;
    const tokensPerSecond = 1000 / this.#msPerToken;
    const done = step + 1;
    if (this.#terminal || nowMs - this.#printedMs > LOG_EVERY_MS || done === totalSteps) {
      this.#printedMs = nowMs;
      const etaMs = (totalSteps - done) * tokens * this.#msPerToken;
      const share = tokensPerSecond * flopsPerToken / ceilingFlops;
      this.#print(
        `step ${done}/${totalSteps}  loss ${loss.toFixed(4)}  ` +
          `${Math.round(tokensPerSecond).toLocaleString("en")} tokens/s  ` +
          `${(100 * share).toFixed(0)} % of the measured ceiling  ${duration(etaMs)} left`,
      );
    }
    return tokensPerSecond;
  }

  /** Prints a line that stays. */
  line(text: string): void {
    if (this.#open) write("\r\x1b[2K");
    this.#open = false;
    console.log(text);
    this.#lastMs = performance.now(); // what was reported took time that no step did
  }

  #print(text: string): void {
    if (!this.#terminal) return console.log(text);
    write(`\r\x1b[2K${text}`);
    this.#open = true;
  }
}

function write(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}

/** As "1 h 02 min", "3 min 20 s" or "12 s". */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  const two = (value: number) => String(value).padStart(2, "0");
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  return minutes > 0 ? `${minutes} min ${two(seconds % 60)} s` : `${seconds} s`;
}

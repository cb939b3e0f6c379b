/**
 * The one progress display of the road: whatever a stage prints, with the stage and how much of the
 * whole is left before it.
 *
 * @module
 */
import { duration, type ProgressSink } from "../progress.ts";
import type { RoadStage } from "./context.ts";
import type { Manifest } from "./manifest.ts";

const ERASE = "\r\x1b[2K";

/** Puts the stage before every line. */
export class RoadSink implements ProgressSink {
  readonly #inner: ProgressSink;
  readonly #stages: readonly RoadStage[];
  readonly #manifest: Pick<Manifest, "done">;
  readonly #nowMs: () => number;
  #stage: RoadStage | undefined;
  #beganMs = 0;

  /** Before a terminal or a log. */
  constructor(
    inner: ProgressSink,
    stages: readonly RoadStage[],
    manifest: Pick<Manifest, "done">,
    nowMs: () => number = () => performance.now(),
  ) {
    this.#inner = inner;
    this.#stages = stages;
    this.#manifest = manifest;
    this.#nowMs = nowMs;
  }

  /** Whether a line can be written over. */
  get isTerminal(): boolean {
    return this.#inner.isTerminal;
  }

  /** A stage begins. */
  begin(stage: RoadStage): void {
    this.#stage = stage;
    this.#beganMs = this.#nowMs();
  }

  /** No stage is under way any more. */
  end(): void {
    this.#stage = undefined;
  }

  /** Takes text with its line feeds. */
  write(text: string): void {
    const isOver = text.startsWith(ERASE);
    const own = isOver ? text.slice(ERASE.length) : text;
    this.#inner.write(`${isOver ? ERASE : ""}${this.#head()}${own}`);
  }

  #head(): string {
    const stage = this.#stage;
    if (!stage) return "";
    const number = this.#stages.indexOf(stage) + 1;
    return `[${number}/${this.#stages.length} ${stage.name}${this.#left()}] `;
  }

  /** From what the stages so far took, for their part of the whole. */
  #left(): string {
    const done = this.#stages.filter(({ name }) => this.#manifest.done(name));
    const share = done.reduce((sum, stage) => sum + stage.share, 0);
    const all = this.#stages.reduce((sum, stage) => sum + stage.share, 0);
    if (share < 0.05 * all) return "";
    const tookMs = done.reduce((sum, s) => sum + 1000 * this.#manifest.done(s.name)!.seconds, 0);
    const nowMs = this.#nowMs() - this.#beganMs;
    const restMs = (all - share) * tookMs / share - nowMs;
    // A stage that takes longer than its part tells nothing of the others.
    return restMs > 0 ? `, about ${duration(restMs)} left` : "";
  }
}

/**
 * Reward against divergence of a run that learns from rewards, as an SVG: over-optimisation is
 * where the one goes on and held-out prompts do not follow.
 *
 * @module
 */
import type { MetricsRecord } from "./metrics.ts";
import { drawSvg, legend } from "./plot.ts";

/** A policy on its way. */
export interface RewardPoint {
  /** Log-ratio to the reference, nats a response. */
  readonly kl: number;
  /** Mean score. */
  readonly score: number;
}

/** What the chart shows, in the order of training. */
export interface RewardCurves {
  /** Of each iteration's own episodes. */
  readonly train: readonly RewardPoint[];
  /** Of held-out prompts, with the weights that are served. */
  readonly heldOut: readonly RewardPoint[];
}

/**
 * The curves in a run's metrics; what is no number is left out.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const metrics = [{ step: 1, "objective/kl": 0.5, "objective/scores": 2 }, { step: 1, lr: 1 }];
 * assertEquals(rewardCurves(metrics), { train: [{ kl: 0.5, score: 2 }], heldOut: [] });
 * ```
 */
export function rewardCurves(metrics: readonly MetricsRecord[]): RewardCurves {
  const pick = (part: string) =>
    metrics.flatMap(({ [`${part}/kl`]: kl, [`${part}/scores`]: score }) =>
      typeof kl === "number" && typeof score === "number" ? [{ kl, score }] : []
    );
  return { train: pick("objective"), heldOut: pick("eval") };
}

const TRAIN = "#3b82f6";
const HELD_OUT = "#e8710a";

/** Draws the curves. @returns a whole SVG document without an XML declaration */
export async function rewardChart(
  { train, heldOut }: RewardCurves,
  title: string,
): Promise<string> {
  const place = { x: "kl", y: "score" } as const;
  return await drawSvg(title, (Plot) => ({
    x: { label: "divergence from the reference (nats a response)", nice: true },
    y: { label: "score", nice: true, grid: true },
    marks: [
      Plot.dot(train, { ...place, fill: TRAIN, r: 2, ariaDescription: "training" }),
      Plot.line(heldOut, { ...place, stroke: HELD_OUT, strokeWidth: 2 }),
      Plot.dot(heldOut, { ...place, fill: HELD_OUT, r: 3.5, ariaDescription: "held out" }),
      legend(Plot, "episodes", TRAIN, 0),
      ...(heldOut.length > 0 ? [legend(Plot, "held-out prompts", HELD_OUT, 18)] : []),
    ],
  }));
}

/**
 * The loss curves of a run as an SVG, for light and dark pages.
 *
 * @module
 */
import type { MetricsRecord } from "./metrics.ts";
import { drawSvg, legend } from "./plot.ts";

/** Loss after so many steps, in nats a token. */
export interface LossPoint {
  /** Updates done. */
  readonly step: number;
  /** Mean over tokens. */
  readonly loss: number;
}

/** What the chart shows. */
export interface LossCurves {
  /** Of each step's own tokens, before its update. */
  readonly train: readonly LossPoint[];
  /** Of the validation split. */
  readonly validation: readonly LossPoint[];
}

/** More points than this say no more on a page: neighbours are then averaged. */
const MOST_POINTS = 600;

/** The curves in a run's metrics; what is no number is left out. */
export function lossCurves(metrics: readonly MetricsRecord[]): LossCurves {
  const pick = (name: string) =>
    metrics.flatMap(({ step, [name]: loss }) => typeof loss === "number" ? [{ step, loss }] : []);
  return { train: pick("train/loss"), validation: pick("val/loss") };
}

/**
 * At most `most` points: the means of neighbours, each at their last step.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * const points = [[1, 8], [2, 6], [3, 4], [4, 2]].map(([step, loss]) => ({ step: step!, loss: loss! }));
 * assertEquals(thinned(points, 2), [{ step: 2, loss: 7 }, { step: 4, loss: 3 }]);
 * ```
 */
export function thinned(points: readonly LossPoint[], most: number = MOST_POINTS): LossPoint[] {
  const count = Math.min(most, points.length);
  return Array.from({ length: count }, (_, i) => {
    const end = Math.round((i + 1) * points.length / count);
    const part = points.slice(Math.round(i * points.length / count), end);
    return {
      step: part.at(-1)!.step,
      loss: part.reduce((sum, { loss }) => sum + loss, 0) / part.length,
    };
  });
}

const TRAIN = "#3b82f6";
const VALIDATION = "#e8710a";

/** Draws the curves. @returns a whole SVG document without an XML declaration */
export async function lossChart(curves: LossCurves, title: string): Promise<string> {
  const train = thinned(curves.train);
  const validation = thinned(curves.validation);
  const place = { x: "step", y: "loss" } as const;
  return await drawSvg(title, (Plot) => ({
    x: { label: "steps", nice: true },
    y: { label: "loss (nats a token)", nice: true, grid: true },
    marks: [
      Plot.ruleX([0], { strokeOpacity: 0.2 }),
      Plot.line(train, { ...place, stroke: TRAIN, strokeWidth: 1.5, ariaDescription: "training" }),
      Plot.line(validation, { ...place, stroke: VALIDATION, strokeWidth: 2 }),
      Plot.dot(validation, { ...place, fill: VALIDATION, r: 3, ariaDescription: "validation" }),
      legend(Plot, "training", TRAIN, 0),
      ...(validation.length > 0 ? [legend(Plot, "validation", VALIDATION, 18)] : []),
    ],
  }));
}

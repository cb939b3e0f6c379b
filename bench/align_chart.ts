/**
 * Gold and learnt reward against the divergence, as Gao et al. 2022 draw them.
 *
 * @module
 */
import { drawSvg, legend } from "../src/run/plot.ts";

/** A policy at some divergence from its reference, in nats a response. */
export interface RewardedPoint {
  readonly kl: number;
  /** What the reward model gives. */
  readonly reward: number;
  /** What the grader who knows the truth gives. */
  readonly gold: number;
}

const LEARNT = "#3b82f6";
const GOLD = "#e8710a";

/** Draws what each seed's policy went through. @returns a whole SVG document */
export async function overOptimisationChart(
  curves: ReadonlyMap<number, readonly RewardedPoint[]>,
): Promise<string> {
  const points = [...curves].flatMap(([seed, points]) =>
    points.map((point) => ({ ...point, seed: `seed ${seed}` }))
  );
  const place = { x: "kl", fx: "seed", strokeWidth: 2 } as const;
  return await drawSvg("Gold and learnt reward against the divergence", (Plot) => ({
    fx: { label: null },
    x: { label: "divergence from the reference (nats a response)", nice: true },
    y: { label: "reward", nice: true, grid: true },
    marks: [
      Plot.line(points, { ...place, y: "reward", stroke: LEARNT, ariaDescription: "learnt" }),
      Plot.line(points, { ...place, y: "gold", stroke: GOLD, ariaDescription: "gold" }),
      legend(Plot, "reward model", LEARNT, 0),
      legend(Plot, "gold", GOLD, 18),
    ],
  }));
}

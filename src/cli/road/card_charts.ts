/**
 * The charts of the report card.
 *
 * @module
 */
import { drawSvg, legend } from "../../run/plot.ts";
import { predictLoss } from "../../run/power_law.ts";
import { accuracy, type CardData, gradeMean, MODELS } from "./card_data.ts";

const COLOURS: Readonly<Record<typeof MODELS[number], string>> = {
  base: "#6b7280",
  sft: "#3b82f6",
  ppo: "#e8710a",
  "ppo-ptx": "#16a34a",
};

/** All charts that there is something for, by name. */
export async function chartsOf(data: CardData): Promise<Map<string, string>> {
  const charts = new Map<string, string>();
  if (data.prediction) charts.set("scaling", await scalingChart(data));
  if (data.models.size > 0) {
    charts.set("gold", await goldChart(data));
    charts.set("shots", await shotsChart(data));
  }
  return charts;
}

async function scalingChart({ smaller, prediction, base }: CardData): Promise<string> {
  const { law, compute: most } = prediction!;
  const least = Math.min(...smaller.map(({ compute }) => compute));
  const curve = Array.from({ length: 60 }, (_, i) => {
    const compute = least * (most / least) ** (i / 59);
    return { compute, loss: predictLoss(law, compute) };
  });
  const place = { x: "compute", y: "loss" } as const;
  return await drawSvg("Loss over compute, foretold and reached", (Plot) => ({
    x: { type: "log", label: "compute (flop)" },
    y: { type: "log", label: "validation loss (nats a token)", grid: true, ticks: 6 },
    marks: [
      Plot.line(curve, { ...place, stroke: COLOURS.base, strokeDasharray: "4 3" }),
      Plot.dot([...smaller], { ...place, fill: COLOURS.sft, r: 4 }),
      Plot.dot([{ compute: most, loss: prediction!.loss }], {
        ...place,
        stroke: COLOURS.base,
        r: 6,
      }),
      ...(base ? [Plot.dot([base], { ...place, fill: COLOURS.ppo, r: 4 })] : []),
      legend(Plot, "smaller models", COLOURS.sft, 0),
      legend(Plot, "foretold", COLOURS.base, 18),
      ...(base ? [legend(Plot, "largest, reached", COLOURS.ppo, 36)] : []),
    ],
  }));
}

async function goldChart({ models }: CardData): Promise<string> {
  const names = MODELS.filter((name) => models.has(name));
  const grades = ["truthful", "helpful", "harmless", "gold"];
  const bars = grades.flatMap((grade) =>
    names.map((name) => ({ grade, name, ...gradeMean(models.get(name)!, grade) }))
  );
  return await drawSvg("Grades of sampled responses", (Plot) => ({
    fx: { label: null, domain: grades },
    x: { axis: null, domain: names },
    y: { label: "mean, from 0 to 1", grid: true, domain: [0, 1.2], ticks: 6 },
    color: { domain: names, range: names.map((name) => COLOURS[name]) },
    marks: [
      Plot.barY(bars, { fx: "grade", x: "name", y: "value", fill: "name" }),
      Plot.ruleX(bars, { fx: "grade", x: "name", y1: "low", y2: "high" }),
      Plot.ruleY([0]),
      // Once, above the last group.
      ...names.map((name, i) =>
        Plot.text([name], {
          fx: () => grades.at(-1),
          frameAnchor: "top-right",
          dy: -24 + 14 * i,
          fill: COLOURS[name],
          fontWeight: 600,
        })
      ),
    ],
  }));
}

async function shotsChart({ models, config }: CardData): Promise<string> {
  const names = MODELS.filter((name) => models.has(name));
  const points = names.flatMap((name) =>
    config.evaluation.shots.map((shots) => ({
      name,
      shots,
      ...accuracy(models.get(name)!.shots[`${shots}`]!),
    }))
  );
  const place = { x: "shots", y: "value", stroke: "name" } as const;
  return await drawSvg("Accuracy over shots, rules never seen", (Plot) => ({
    x: { label: "shots" },
    y: { label: "accuracy", grid: true, domain: [0, 1] },
    color: { domain: names, range: names.map((name) => COLOURS[name]) },
    marks: [
      Plot.ruleY([0.5], { strokeDasharray: "4 3", strokeOpacity: 0.5 }),
      Plot.line(points, place),
      Plot.ruleX(points, { x: "shots", y1: "low", y2: "high", stroke: "name", strokeOpacity: 0.4 }),
      Plot.dot(points, { x: "shots", y: "value", fill: "name", r: 3 }),
      ...names.map((name, i) => legend(Plot, name, COLOURS[name], 200 + 16 * i)),
    ],
  }));
}

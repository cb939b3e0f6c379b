// Expected values are scikit-learn 1.9's and SciPy's: accuracy_score, f1_score, matthews_corrcoef,
// pearsonr and spearmanr of the same lists.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { PhiloxStream } from "../../src/random/philox.ts";
import {
  accuracy,
  bootstrap,
  f1,
  macroF1,
  matthews,
  pearson,
  spearman,
  wilson,
} from "../../src/train/metrics.ts";
import { taskMetrics } from "../../src/train/task_metrics.ts";
import { assertClose } from "../support/close.ts";

const LABELS = [0, 1, 2, 2, 1, 0, 1, 1, 0, 2];
const PREDICTED = [0, 1, 1, 2, 1, 0, 0, 1, 2, 2];
const X = [0.5, 2, 2, 3.5, 1, 4, 0];
const Y = [1, 2, 3, 3, 1, 5, 2];

Deno.test("metrics of classes are scikit-learn's", () => {
  assertEquals(accuracy(PREDICTED, LABELS), 0.7);
  assertClose([0, 1, 2].map((k) => f1(PREDICTED, LABELS, k)), [2 / 3, 0.75, 2 / 3], {
    rtol: 1e-14,
  });
  assertClose(macroF1(PREDICTED, LABELS, 3), 0.6944444444444443, { rtol: 1e-14 });
  assertClose(matthews(PREDICTED, LABELS), 0.5454545454545454, { rtol: 1e-14 });
  const isOne = (values: number[]) => values.map((value) => value === 1 ? 1 : 0);
  assertClose(matthews(isOne(PREDICTED), isOne(LABELS)), 0.5833333333333334, { rtol: 1e-14 });
});

Deno.test("metrics of scores are SciPy's, ties and all", () => {
  assertClose(pearson(X, Y), 0.8337006277217399, { rtol: 1e-13 });
  assertClose(spearman(X, Y), 0.7964328705698839, { rtol: 1e-13 });
});

Deno.test("metrics without anything to tell apart are 0", () => {
  assertEquals(matthews([1, 1], [0, 1]), 0);
  assertEquals(pearson([1, 1], [0, 1]), 0);
  assertEquals(f1([0], [0], 1), 0);
  assertThrows(
    () => accuracy([1], [1, 2]),
    RangeError,
    "Cannot measure predictions: one for each of 1 or more labels: got 1 for 2",
  );
  assertThrows(() => spearman([], []), RangeError, "got 0 for 0");
});

Deno.test("taskMetrics() has the main measure of each task first", () => {
  const of = (task: "classification" | "similarity" | "choice", scores?: [number, number]) =>
    Object.keys(taskMetrics(PREDICTED, LABELS, { task, scores, classes: 3 }));
  assertEquals(of("classification"), ["accuracy", "f1", "matthews"]);
  assertEquals(of("similarity", [0, 2]), ["pearson", "spearman"]);
  assertEquals(of("similarity"), ["accuracy", "f1", "matthews"]);
  assertEquals(of("choice"), ["accuracy"]);
});

Deno.test("wilson() is SciPy's binomtest(…).proportion_ci(method='wilson')", () => {
  assertClose(wilson(698 / 872, 872), [0.7726401072232759, 0.8256416876412388], { rtol: 1e-8 });
  assertClose(wilson(1, 10), [0.7224672001371109, 1], { rtol: 1e-8 });
});

/** Pairs of normal numbers with a correlation of 0.6. */
function correlated(count: number): [Float64Array, Float64Array] {
  const stream = new PhiloxStream(3);
  const x = Float64Array.from({ length: count }, () => stream.normal());
  return [x, x.map((value) => 0.6 * value + 0.8 * stream.normal())];
}

Deno.test("bootstrap() agrees with Fisher's interval of a correlation", () => {
  const [x, y] = correlated(800);
  const r = pearson(x, y);
  const half = 1.959964 / Math.sqrt(800 - 3);
  const [low, high] = bootstrap(pearson, x, y);
  assertClose([low, high], [Math.tanh(Math.atanh(r) - half), Math.tanh(Math.atanh(r) + half)], {
    atol: 0.01,
  });
});

Deno.test("bootstrap() narrows with the examples, and is a function of its seed", () => {
  const width = ([low, high]: [number, number]) => high - low;
  const of = (count: number, seed: number) =>
    bootstrap(pearson, ...correlated(count), { samples: 400, seed });
  const ratio = width(of(100, 1)) / width(of(1600, 1));
  assert(ratio > 3 && ratio < 5.5, `${ratio} times as wide with a sixteenth of the examples`);
  assertEquals(of(100, 1), of(100, 1));
  assert(of(100, 1)[0] !== of(100, 2)[0]);
  const line = bootstrap(pearson, [1, 2, 3, 4], [2, 4, 6, 8], { samples: 40 });
  assertClose(line[1], 1, { rtol: 1e-14 });
});

Deno.test("bootstrap() refuses too few samples, and labels that do not fit", () => {
  assertThrows(() => bootstrap(pearson, [1], [1], { samples: 39 }), RangeError, "got 39");
  assertThrows(() => bootstrap(pearson, [1], [1, 2]), RangeError, "got 1 for 2");
});

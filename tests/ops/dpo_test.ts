import { assertThrows } from "@std/assert";
import { dpoState, pairMetrics, sequenceScores, sequenceWeights } from "../../src/ops/dpo.ts";
import { dpo as reference } from "../reference/dpo.ts";
import { assertClose } from "../support/close.ts";
import { type OpScope, opTest } from "../support/op.ts";
import { normal, uniform } from "../support/random.ts";
import { dotBound } from "../support/tolerance.ts";

const BETA = 0.25;

function stateOf(scope: OpScope) {
  return scope.own(dpoState(scope.device, BETA));
}

/** Lengths on both sides of a workgroup's width, and rows that are all padding. */
const SHAPES = [[1, 2, 1], [3, 2, 33], [2, 9, 31], [5, 3, 257], [1, 4, 1024]] as const;

for (const [E, K, T] of SHAPES) {
  opTest(`sequenceScores() matches the reference at (${E}, ${K}, ${T})`, async (scope, device) => {
    const R = E * K;
    const mask = uniform(1, R * T).map((x, n) => x > 0 && Math.floor(n / T) !== 1 ? 1 : 0);
    const nll = uniform(2, R * T, 0, 4).map((x, n) => x * mask[n]!);
    const before = normal(3, R, T);
    const weights = new Float32Array(E * K * K);
    const want = reference(nll, mask, before, weights, { E, K, T, beta: BETA });
    const { logps, scores } = sequenceScores(scope.plan, scope.upload("nll", [R, T], nll), {
      reference: scope.upload("reference", [R], before),
      state: stateOf(scope),
    });
    scope.plan.keep(scores);
    await scope.run(logps);
    const bound = dotBound(want.logps.map(Math.abs), T);
    assertClose(await device.read(logps), want.logps, { bound });
    const rounding = bound.map((own, r) => BETA * (2 * own + 2 ** -23 * Math.abs(before[r]!)));
    assertClose(await device.read(scores), want.scores, { bound: rounding.map((x) => x + 1e-7) });
  });

  opTest(`sequenceWeights() matches the reference at (${E}, ${K}, ${T})`, async (scope, device) => {
    const R = E * K;
    const mask = uniform(1, R * T).map((x) => x > 0 ? 1 : 0);
    const dscores = normal(2, R);
    const want = Float64Array.from(mask, (own, n) => -BETA * dscores[Math.floor(n / T)]! * own);
    const weights = sequenceWeights(scope.plan, scope.upload("mask", [R, T], mask), {
      dscores: scope.upload("dscores", [R], dscores),
      state: stateOf(scope),
    });
    await scope.run(weights);
    assertClose(await device.read(weights), want, { rtol: 2 ** -22, atol: 0 });
  });

  opTest(`pairMetrics() matches plain sums at (${E}, ${K})`, async (scope, device) => {
    const R = E * K;
    const [scores, logps] = [normal(1, R), normal(2, R, 9)];
    const weights = uniform(3, E * K * K).map((x) => Math.max(0, x));
    const want = Array.from({ length: 5 }, () => new Float64Array(R));
    weights.forEach((weight, n) => {
      if (weight === 0) return;
      const [i, j] = [Math.floor(n / K), Math.floor(n / (K * K)) * K + n % K];
      want[0]![i]! += scores[i]!;
      want[1]![i]! += scores[j]!;
      want[2]![i]! += scores[i]! > scores[j]! ? 1 : 0;
      want[3]![i]! += logps[i]!;
      want[4]![i]! += logps[j]!;
    });
    const { plan } = scope;
    const metrics = pairMetrics(plan, scope.upload("scores", [R], scores), {
      logps: scope.upload("logps", [R], logps),
      weights: scope.upload("weights", [E, K, K], weights),
    });
    const { chosen, rejected, right, chosenLogps, rejectedLogps } = metrics;
    const all = [chosen, rejected, right, chosenLogps, rejectedLogps];
    for (const each of all) plan.keep(each);
    await scope.run(chosen);
    for (const [i, each] of all.entries()) {
      assertClose(await device.read(each), want[i]!, { rtol: 2e-6, atol: 1e-5, label: each.label });
    }
  });
}

opTest("what does not fit is said", (scope) => {
  const { plan } = scope;
  const state = stateOf(scope);
  const five = scope.upload("five", [5], normal(1, 5));
  const two = scope.upload("two", [2], normal(1, 2));
  assertThrows(() => sequenceScores(plan, five, { reference: two, state }), RangeError, "2 rows");
  assertThrows(() => sequenceWeights(plan, five, { dscores: two, state }), RangeError, "2 rows");
  const weights = scope.upload("weights", [1, 2, 2], normal(1, 4));
  assertThrows(() => pairMetrics(plan, five, { logps: two, weights }), RangeError, "of E K");
  return Promise.resolve();
});

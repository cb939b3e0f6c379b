import { assertEquals, assertThrows } from "@std/assert";
import { lossState } from "../../src/ops/cross_entropy.ts";
import { pairwise } from "../../src/ops/pairwise.ts";
import { pairwise as reference } from "../reference/pairwise.ts";
import { assertClose } from "../support/close.ts";
import { type OpScope, opTest } from "../support/op.ts";
import { integers, normal } from "../support/random.ts";
import { TOLERANCE } from "../support/tolerance.ts";

/** Comparisons by random ranks, with ties, over K (K - 1) / 2; every third prompt has none. */
function makeWeights(E: number, K: number): Float32Array {
  const ranks = integers(2, E * K, Math.max(1, K - 1));
  return Float32Array.from({ length: E * K * K }, (_, n) => {
    const [e, i, j] = [Math.floor(n / (K * K)), Math.floor(n / K) % K, n % K];
    const isBetter = e % 3 !== 2 && ranks[e * K + i]! < ranks[e * K + j]!;
    return isBetter ? 2 / (K * (K - 1)) : 0;
  });
}

function stateOf(scope: OpScope, scale: number) {
  const state = scope.own(lossState(scope.device));
  state.set({ scale });
  return state;
}

for (const [E, K] of [[1, 2], [5, 3], [8, 9], [33, 4]] as const) {
  opTest(`pairwise() matches the reference at (${E}, ${K})`, async (scope, device) => {
    const z = normal(1, E * K, 3);
    const weights = makeWeights(E, K);
    const scale = 1 / E;
    const want = reference(z, weights, { E, K, scale });
    const scores = scope.variable("scores", [E * K, 1], z);
    const losses = pairwise(scope.plan, scores, {
      weights: scope.upload("weights", [E, K, K], weights),
      state: stateOf(scope, scale),
    });
    await scope.run(losses, undefined, [scores]);
    assertClose(await device.read(losses), want.losses, TOLERANCE.crossEntropyLoss);
    // Up to K terms of σ, each of order its weight, that cancel.
    assertClose(await scope.gradient(scores), want.dscores, { rtol: 2e-6, atol: 1e-6 * scale });
  });
}

opTest("pairwise() holds where a sigmoid is 0 or 1 in f32", async (scope, device) => {
  const z = Float32Array.of(0, 300, -7, 7, 0, 20);
  const weights = Float32Array.of(0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0);
  const want = reference(z, weights, { E: 3, K: 2 });
  const scores = scope.variable("scores", [6], z);
  const losses = pairwise(scope.plan, scores, {
    weights: scope.upload("weights", [3, 2, 2], weights),
    state: stateOf(scope, 1),
  });
  await scope.run(losses, undefined, [scores]);
  const got = await device.read(losses);
  // The smallest are relative, too: a comparison that is right by far still has its small loss.
  assertClose(got, want.losses, { rtol: 1e-5, atol: 0 });
  assertClose(await scope.gradient(scores), want.dscores, { rtol: 1e-5, atol: 0 });
});

opTest("pairwise() gives no gradient when asked for the loss only", async (scope) => {
  const scores = scope.variable("scores", [4], normal(1, 4));
  const weights = scope.upload("weights", [2, 2, 2], makeWeights(2, 2));
  const options = { weights, state: stateOf(scope, 1), gradient: false };
  await scope.run(pairwise(scope.plan, scores, options));
  assertEquals(scope.plan.gradient(scores), undefined);
});

opTest("pairwise() says what does not fit", (scope) => {
  const scores = scope.variable("scores", [6], normal(1, 6));
  const state = stateOf(scope, 1);
  const flat = scope.upload("weights", [2, 9], normal(2, 18));
  assertThrows(
    () => pairwise(scope.plan, scores, { weights: flat, state }),
    RangeError,
    'Cannot record pairwise: "weights" of shape (E, K, K): got (2, 9)',
  );
  const other = scope.upload("weights", [1, 3, 3], normal(2, 9));
  assertThrows(
    () => pairwise(scope.plan, scores, { weights: other, state }),
    RangeError,
    '"scores" of 1 × 3 scores: got 6',
  );
  const weights = scope.upload("weights", [2, 3, 3], normal(2, 18));
  pairwise(scope.plan, scores, { weights, state });
  assertThrows(
    () => pairwise(scope.plan, scores, { weights, state }),
    RangeError,
    '"scores" read by one loss only',
  );
  return Promise.resolve();
});

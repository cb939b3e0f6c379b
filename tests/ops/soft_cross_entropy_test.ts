import { assertEquals, assertThrows } from "@std/assert";
import { lossState } from "../../src/ops/cross_entropy.ts";
import { softCrossEntropy } from "../../src/ops/soft_cross_entropy.ts";
import { softCrossEntropy as reference } from "../reference/soft_cross_entropy.ts";
import { assertClose } from "../support/close.ts";
import { type OpScope, opTest } from "../support/op.ts";
import { normal, uniform } from "../support/random.ts";
import { TOLERANCE } from "../support/tolerance.ts";

/** Random soft labels; every third row is padding. */
function makeLabels(N: number, K: number): Float32Array {
  const labels = uniform(2, N * K, 0, 1);
  for (let n = 2; n < N; n += 3) labels.fill(0, n * K, (n + 1) * K);
  return labels;
}

/** (N, K) as (K, N). */
function transposed(x: ArrayLike<number>, N: number, K: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: N * K }, (_, i) => x[(i % N) * K + Math.floor(i / N)]!);
}

function fixture(scope: OpScope, scale: number) {
  const state = scope.own(lossState(scope.device));
  state.set({ scale });
  return state;
}

for (const [N, K] of [[1, 1], [3, 2], [65, 6], [130, 3]] as const) {
  for (const classes of ["rows", "columns"] as const) {
    opTest(
      `softCrossEntropy() matches the reference at (${N}, ${K}), classes in ${classes}`,
      async (scope, device) => {
        const z = normal(1, N * K, 3);
        const labels = makeLabels(N, K);
        const scale = 1 / N;
        const want = reference(z, labels, { N, K, scale });
        const given = classes === "rows" ? z : transposed(z, N, K);
        const logits = scope.variable("logits", [N * K], given);
        const losses = softCrossEntropy(scope.plan, logits, {
          labels: scope.upload("labels", [N, K], labels),
          state: fixture(scope, scale),
          classes,
        });
        await scope.run(losses);
        assertClose(await device.read(losses), want.losses, TOLERANCE.crossEntropyLoss);
        const dlogits = classes === "rows" ? want.dlogits : transposed(want.dlogits, N, K);
        // Roundings of the softmax and of its difference to a label of order 1.
        assertClose(await device.read(logits), dlogits, { atol: 4e-6 * scale * K });
      },
    );
  }
}

opTest("softCrossEntropy() leaves logits alone when asked for the loss only", async (scope) => {
  const [N, K] = [4, 3];
  const z = normal(1, N * K);
  const logits = scope.variable("logits", [N, K], z);
  const labels = scope.upload("labels", [N, K], makeLabels(N, K));
  const options = { labels, state: fixture(scope, 1), gradient: false };
  await scope.run(softCrossEntropy(scope.plan, logits, options));
  assertEquals(await scope.device.read(logits), z);
});

opTest("softCrossEntropy() holds at logits that overflow exp, and at -infinity", async (scope) => {
  const logits = scope.variable("logits", [1, 3], Float32Array.of(1e4, 1e4 + 2, -Infinity));
  const labels = scope.upload("labels", [1, 3], Float32Array.of(1, 0, 0));
  const losses = softCrossEntropy(scope.plan, logits, { labels, state: fixture(scope, 1) });
  await scope.run(losses);
  assertClose(await scope.device.read(losses), [Math.log(1 + Math.exp(2))], { rtol: 2e-6 });
  const p = 1 / (1 + Math.exp(2));
  assertClose(await scope.device.read(logits), [p - 1, 1 - p, 0], { atol: 1e-6 });
});

opTest("softCrossEntropy() says what does not fit", (scope) => {
  const logits = scope.variable("logits", [2, 3], normal(1, 6));
  const state = fixture(scope, 1);
  const labels = scope.upload("labels", [2, 2], normal(2, 4));
  assertThrows(
    () => softCrossEntropy(scope.plan, logits, { labels, state }),
    RangeError,
    'Cannot record soft_cross_entropy: "logits" of 2 × 2 logits: got 6',
  );
  const fitting = scope.upload("labels", [2, 3], normal(2, 6));
  softCrossEntropy(scope.plan, logits, { labels: fitting, state });
  assertThrows(
    () => softCrossEntropy(scope.plan, logits, { labels: fitting, state }),
    RangeError,
    '"logits" read by one loss only',
  );
  return Promise.resolve();
});

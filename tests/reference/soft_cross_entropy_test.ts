import { assertEquals } from "@std/assert";
import { assertClose } from "../support/close.ts";
import { integers, normal, uniform } from "../support/random.ts";
import { crossEntropy } from "./cross_entropy.ts";
import { assertGradient } from "./finite_difference.ts";
import { softCrossEntropy } from "./soft_cross_entropy.ts";

for (const [N, K] of [[1, 1], [3, 2], [2, 6]] as const) {
  Deno.test(`softCrossEntropy() has its gradient at (${N}, ${K})`, () => {
    const logits = Float64Array.from(normal(1, N * K, 2));
    const labels = uniform(2, N * K, 0, 1);
    const options = { N, K, scale: 0.37 };
    const loss = () =>
      0.37 * softCrossEntropy(logits, labels, options).losses.reduce((a, b) => a + b);
    const { dlogits } = softCrossEntropy(logits, labels, options);
    assertGradient(loss, logits, dlogits, { label: "dlogits" });
  });
}

Deno.test("softCrossEntropy() of one-hot labels is cross-entropy", () => {
  const [N, K] = [5, 4];
  const logits = normal(3, N * K);
  const targets = integers(4, N, K);
  const labels = Float64Array.from(
    { length: N * K },
    (_, i) => i % K === targets[Math.floor(i / K)] ? 1 : 0,
  );
  const soft = softCrossEntropy(logits, labels, { N, K });
  const hard = crossEntropy(logits, targets, { N, V: K, Vp: K });
  assertClose(soft.losses, hard.losses, { rtol: 1e-14 });
  assertClose(soft.dlogits, hard.dlogits, { atol: 1e-15 });
});

Deno.test("softCrossEntropy() of a row without labels is nothing", () => {
  const { losses, dlogits } = softCrossEntropy([1, 2], [0, 0], { N: 1, K: 2 });
  assertEquals([losses[0], ...dlogits], [0, 0, 0]);
});

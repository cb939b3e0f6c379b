import { assertEquals } from "@std/assert";
import { assertClose } from "../support/close.ts";
import { integers, normal } from "../support/random.ts";
import { crossEntropy } from "./cross_entropy.ts";
import { assertGradient } from "./finite_difference.ts";

for (const [N, V, Vp] of [[1, 1, 1], [3, 5, 8], [4, 7, 7], [2, 129, 192]] as const) {
  for (const masked of [false, true]) {
    Deno.test(`crossEntropy() has its gradient at (${N}, ${V} of ${Vp}), mask ${masked}`, () => {
      const logits = Float64Array.from(normal(1, N * Vp, 2)); // (N, Vp)
      const targets = integers(2, N, V); // (N)
      const mask = masked ? Array.from({ length: N }, (_, n) => [1, 0, 0.5][n % 3]!) : undefined;
      const options = { N, V, Vp, mask, scale: 0.37 };
      const loss = () =>
        0.37 * crossEntropy(logits, targets, options).losses.reduce((a, b) => a + b, 0);
      const { dlogits } = crossEntropy(logits, targets, options);
      assertGradient(loss, logits, dlogits, { label: "dlogits" });
    });
  }
}

Deno.test("crossEntropy() of equal logits is ln V", () => {
  const { losses, lse } = crossEntropy(new Float64Array(2 * 64), [3, 49], { N: 2, V: 50, Vp: 64 });
  assertClose(losses, [Math.log(50), Math.log(50)], { rtol: 1e-15 });
  assertClose(lse, losses, { rtol: 1e-15 });
});

Deno.test("crossEntropy() reads neither padded columns nor the targets of masked rows", () => {
  const [N, V, Vp] = [2, 3, 5];
  const logits = Float64Array.from(normal(3, N * Vp), (x, i) => i % Vp < V ? x : NaN);
  const { losses, dlogits } = crossEntropy(logits, [1, -100], { N, V, Vp, mask: [1, 0] });
  assertEquals(losses[1], 0);
  assertEquals([...dlogits.subarray(V, 2 * Vp)], new Array(2 * Vp - V).fill(0));
  assertEquals(dlogits.some(Number.isNaN), false);
});

Deno.test("crossEntropy() stays finite with logits of 1e4", () => {
  const { losses, dlogits } = crossEntropy([1e4, 0, -1e4], [2], { N: 1, V: 3, Vp: 3 });
  assertEquals(losses[0], 2e4);
  assertEquals([...dlogits], [1, 0, -1]);
});

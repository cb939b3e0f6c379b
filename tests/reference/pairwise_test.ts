import { assertEquals } from "@std/assert";
import { assertClose } from "../support/close.ts";
import { normal, uniform } from "../support/random.ts";
import { assertGradient } from "./finite_difference.ts";
import { pairwise } from "./pairwise.ts";

for (const [E, K] of [[1, 2], [3, 4], [2, 9]] as const) {
  Deno.test(`pairwise() has its gradient at (${E}, ${K})`, () => {
    const scores = Float64Array.from(normal(1, E * K, 2));
    const weights = uniform(2, E * K * K, 0, 1);
    const options = { E, K, scale: 0.37 };
    const loss = () => 0.37 * pairwise(scores, weights, options).losses.reduce((a, b) => a + b);
    const { dscores } = pairwise(scores, weights, options);
    assertGradient(loss, scores, dscores, { label: "dscores" });
  });
}

Deno.test("pairwise() of one comparison is -log σ of the margin", () => {
  const { losses, dscores } = pairwise([0.5, 2], [0, 0, 1, 0], { E: 1, K: 2 });
  const share = 1 / (1 + Math.exp(-1.5));
  assertClose(losses, [0, -Math.log(share)], { rtol: 1e-14 });
  assertClose(dscores, [1 - share, share - 1], { rtol: 1e-14 });
});

Deno.test("pairwise() of no comparison is nothing", () => {
  const { losses, dscores } = pairwise([1, 2], [0, 0, 0, 0], { E: 1, K: 2 });
  assertEquals([...losses, ...dscores].map(Math.abs), [0, 0, 0, 0]);
});

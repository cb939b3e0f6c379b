import { assertClose } from "../support/close.ts";
import { normal, uniform } from "../support/random.ts";
import { dpo } from "./dpo.ts";
import { assertGradient } from "./finite_difference.ts";

for (const [E, K, T] of [[1, 2, 3], [2, 4, 5], [3, 3, 1]] as const) {
  Deno.test(`dpo() has its gradient at (${E}, ${K}, ${T})`, () => {
    const nll = Float64Array.from(uniform(1, E * K * T, 0, 3));
    const mask = uniform(2, E * K * T).map((x) => x > 0 ? 1 : 0);
    const reference = normal(3, E * K, 2);
    const weights = uniform(4, E * K * K, 0, 1);
    const sizes = { E, K, T, beta: 0.4, scale: 0.7 };
    const run = () => dpo(nll, mask, reference, weights, sizes);
    const loss = () => 0.7 * run().losses.reduce((a, b) => a + b);
    assertGradient(loss, nll, run().dnll, { label: "dnll" });
  });
}

Deno.test("dpo() of one pair is equation 7", () => {
  const nll = [1, 2, 0.5, 1.5];
  const { losses } = dpo(nll, [1, 1, 1, 1], [-3.5, -1], [0, 1, 0, 0], {
    ...{ E: 1, K: 2, T: 2, beta: 0.1 },
  });
  const h = 0.1 * ((-3 + 3.5) - (-2 + 1));
  assertClose(losses, [-Math.log(1 / (1 + Math.exp(-h))), 0], { rtol: 1e-14 });
});

import { assertEquals } from "@std/assert";
import { assertClose } from "../support/close.ts";
import { integers, normal } from "../support/random.ts";
import { assertGradient } from "./finite_difference.ts";
import { policyLoss, valueLoss } from "./ppo.ts";

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => a + b, 0);

for (const [N, V] of [[1, 2], [7, 5], [12, 31]] as const) {
  Deno.test(`policyLoss() has its gradient at (${N}, ${V})`, () => {
    const logits = Float64Array.from(normal(N, N * V));
    const targets = integers(2, N, V);
    const [moves, advantages] = [normal(3, N, 0.3), normal(4, N)];
    const at = (x: Float64Array, n: number) => {
      const row = x.subarray(n * V, (n + 1) * V);
      return row[targets[n]!]! - Math.log(sum(row.map(Math.exp)));
    };
    const rows = Array.from({ length: N }, (_, n) => ({
      target: targets[n]!,
      old: at(logits, n) - moves[n]!,
      advantage: advantages[n]!,
      mask: n % 4 === 3 ? 0 : 1,
    }));
    const options = { V, clip: 0.2, scale: 0.37 };
    const { dlogits, clipped } = policyLoss(logits, rows, options);
    const loss = () => 0.37 * sum(policyLoss(logits, rows, options).losses);
    assertGradient(loss, logits, dlogits, { label: "dlogits" });
    if (N === 12) assertEquals(sum(clipped) > 0 && sum(clipped) < 9, true);
  });
}

for (const N of [1, 9, 40]) {
  Deno.test(`valueLoss() has its gradient at ${N}`, () => {
    const values = Float64Array.from(normal(1, N));
    const [olds, goals] = [normal(2, N), normal(3, N)];
    const rows = Array.from(values, (_, n) => ({
      old: olds[n]!,
      goal: goals[n]!,
      mask: n % 4 === 3 ? 0 : 1,
    }));
    const options = { clip: 0.2, scale: 0.37 };
    const loss = () => 0.37 * sum(valueLoss(values, rows, options).losses);
    const { dvalues } = valueLoss(values, rows, options);
    assertGradient(loss, values, dvalues, { label: "dvalues" });
  });
}

Deno.test("policyLoss() of the policy that wrote the text is -A, with the policy gradient", () => {
  const logits = [Math.log(0.25), Math.log(0.75)];
  const rows = [{ target: 0, old: Math.log(0.25), advantage: 2, mask: 1 }];
  const { losses, kl, clipped, ratios, dlogits } = policyLoss(logits, rows, { V: 2, clip: 0.2 });
  assertClose([...losses, ...kl, ...clipped, ...ratios], [-2, 0, 0, 1], { atol: 1e-15 });
  assertClose(dlogits, [-1.5, 1.5], { rtol: 1e-14 });
});

Deno.test("a move beyond the range has no gradient where it was for the better", () => {
  const two = (old: number, advantage: number) =>
    policyLoss([0, 0], [{ target: 0, old, advantage, mask: 1 }], { V: 2, clip: 0.2 });
  const up = Math.log(0.5 / 1.5); // ratio 1.5
  assertClose(two(up, 1).losses, [-1.2], { rtol: 1e-14 });
  assertEquals([...two(up, 1).dlogits].map(Math.abs), [0, 0]);
  assertEquals(two(up, 1).clipped[0], 1);
  assertClose(two(up, -1).losses, [1.5], { rtol: 1e-14 });
  assertClose(two(up, -1).dlogits, [0.75, -0.75], { rtol: 1e-14 });
});

import { assertEquals } from "@std/assert";
import { integers, normal } from "../support/random.ts";
import { assertGradient, weightedSum } from "./finite_difference.ts";
import { gatherRows, scatterAddRows } from "./gather.ts";

for (const [R, M, C] of [[1, 1, 1], [4, 9, 3], [7, 2, 17], [3, 0, 5]] as const) {
  Deno.test(`scatterAddRows() is the gradient of gatherRows() at (${R}, ${M}, ${C})`, () => {
    const inp = Float64Array.from(normal(1, R * C)); // (R, C)
    const indices = integers(2, M, R); // (M)
    const dout = normal(3, M * C); // (M, C)
    const loss = () => weightedSum(gatherRows(inp, indices, { C }), dout);
    assertGradient(loss, inp, scatterAddRows(dout, indices, { R, C }));
  });
}

Deno.test("gatherRows() and scatterAddRows() give the rows worked by hand", () => {
  assertEquals([...gatherRows([1, 2, 3, 4], [1, 0, 1], { C: 2 })], [3, 4, 1, 2, 3, 4]);
  const sums = scatterAddRows([1, 2, 3, 4, 5, 6], [1, 0, 1], { R: 3, C: 2 });
  assertEquals([...sums], [3, 4, 6, 8, 0, 0]);
});

import { assertEquals } from "@std/assert";
import { normal } from "../support/random.ts";
import { assertGradient, weightedSum } from "./finite_difference.ts";
import { linearBackward, linearForward, matmulNn, matmulNt, matmulTn } from "./matmul.ts";

const SHAPES = [[1, 1, 1], [3, 7, 2], [5, 1, 9], [2, 13, 17]] as const;

Deno.test("matmulNn(), matmulNt() and matmulTn() give the product worked by hand", () => {
  const dims = { M: 2, N: 2, K: 3 };
  const want = [58, 64, 139, 154];
  assertEquals([...matmulNn([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12], dims)], want);
  assertEquals([...matmulNt([1, 2, 3, 4, 5, 6], [7, 9, 11, 8, 10, 12], dims)], want);
  assertEquals([...matmulTn([1, 4, 2, 5, 3, 6], [7, 8, 9, 10, 11, 12], dims)], want);
});

for (const [M, N, K] of SHAPES) {
  for (const layout of ["kn", "nk"] as const) {
    for (const gelu of [false, true]) {
      Deno.test(`linearBackward() is right at (${M}, ${N}, ${K}), ${layout}, gelu ${gelu}`, () => {
        const inp = Float64Array.from(normal(1, M * K)); // (M, K)
        const weight = Float64Array.from(normal(2, K * N));
        const bias = Float64Array.from(normal(3, N)); // (N)
        const residual = Float64Array.from(normal(4, M * N)); // (M, N)
        const dout = Float64Array.from(normal(5, M * N)); // (M, N)
        const forward = () => linearForward(inp, weight, { M, N, K, layout, gelu, bias, residual });
        const loss = () => weightedSum(forward().out, dout);
        const pre = gelu ? forward().pre : undefined;
        const { dinp, dweight, dbias } = linearBackward(dout, inp, weight, {
          M,
          N,
          K,
          layout,
          pre,
        });
        assertGradient(loss, inp, dinp, { label: "dinp" });
        assertGradient(loss, weight, dweight, { label: "dweight" });
        assertGradient(loss, bias, dbias, { label: "dbias" });
        assertGradient(loss, residual, dout, { label: "dresidual" });
      });
    }
  }
}

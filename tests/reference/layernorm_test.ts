import { assertClose } from "../support/close.ts";
import { normal } from "../support/random.ts";
import { assertGradient, weightedSum } from "./finite_difference.ts";
import { layernormBackward, layernormForward } from "./layernorm.ts";

for (const [N, C] of [[1, 1], [3, 7], [2, 32], [5, 129]] as const) {
  for (const withBias of [true, false]) {
    Deno.test(`layernormBackward() is the gradient at (${N}, ${C}), bias ${withBias}`, () => {
      const inp = Float64Array.from(normal(1, N * C, 2)); // (N, C)
      const weight = Float64Array.from(normal(2, C)); // (C)
      const bias = Float64Array.from(normal(3, C)); // (C)
      const dout = normal(4, N * C); // (N, C)
      const forward = () =>
        layernormForward(inp, weight, { N, C, bias: withBias ? bias : undefined });
      const loss = () => weightedSum(forward().out, dout);
      const { mean, rstd } = forward();
      const { dinp, dweight, dbias } = layernormBackward(dout, inp, weight, { N, C, mean, rstd });
      assertGradient(loss, inp, dinp, { label: "dinp" });
      assertGradient(loss, weight, dweight, { label: "dweight" });
      if (withBias) assertGradient(loss, bias, dbias, { label: "dbias" });
    });
  }
}

Deno.test("layernormForward() gives rows of mean 0 and variance 1", () => {
  const [N, C] = [3, 1757];
  const ones = new Float64Array(C).fill(1);
  const { out } = layernormForward(normal(5, N * C, 3), ones, { N, C, eps: 0 });
  const moments = layernormForward(out, ones, { N, C, eps: 0 });
  assertClose(moments.mean, new Float64Array(N), { atol: 1e-14, label: "mean" });
  assertClose(moments.rstd, ones.subarray(0, N), { atol: 1e-13, label: "rstd" });
});

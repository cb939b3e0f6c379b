import { assertEquals } from "@std/assert";
import { assertClose } from "../support/close.ts";
import { normal } from "../support/random.ts";
import { adamwStep, clipCoefficient, globalNorm } from "./adamw.ts";
import { sum, sumOfSquares } from "./reduce.ts";

Deno.test("adamwStep() first moves each weight by lr against the sign of its gradient", () => {
  const param = normal(1, 7);
  const zeros = new Float64Array(7);
  const grad = normal(2, 7);
  const next = adamwStep({ param, m: zeros, v: zeros }, grad, { lr: 0.1, step: 1, eps: 0 });
  const want = Float64Array.from(param, (x, i) => x - 0.1 * Math.sign(grad[i]!));
  assertClose(next.param, want, { rtol: 1e-14, atol: 1e-15 });
});

Deno.test("adamwStep() without a gradient only decays, by lr weightDecay", () => {
  const zeros = new Float64Array(3);
  const options = { lr: 0.1, weightDecay: 0.5, step: 4 };
  const next = adamwStep({ param: [1, -2, 3], m: zeros, v: zeros }, zeros, options);
  assertClose(next.param, [0.95, -1.9, 2.85], { rtol: 1e-15 });
});

Deno.test("adamwStep() leaves the given state as it is and applies gradScale first", () => {
  const state = { param: Float64Array.of(1), m: Float64Array.of(0.5), v: Float64Array.of(0.25) };
  const options = { lr: 0.1, step: 3 };
  const scaled = adamwStep(state, [4], { ...options, gradScale: 0.5 });
  assertEquals(scaled, adamwStep(state, [2], options));
  assertEquals([...state.param, ...state.m, ...state.v], [1, 0.5, 0.25]);
});

Deno.test("globalNorm() spans all tensors and clipCoefficient() never enlarges", () => {
  assertEquals(globalNorm([[3], [0, 4], []]), 5);
  assertClose(clipCoefficient(5, 1), 1 / 5.000001, { rtol: 1e-15 });
  assertEquals(clipCoefficient(0.5, 1), 1);
  assertEquals(clipCoefficient(0, 1), 1);
});

Deno.test("sum() and sumOfSquares() add up", () => {
  assertEquals([sum([]), sum([1, 2, -4])], [0, -1]);
  assertEquals([sumOfSquares([]), sumOfSquares([1, 2, -4])], [0, 21]);
});

import { assertThrows } from "@std/assert";
import { score } from "../../src/ops/score.ts";
import { assertClose } from "../support/close.ts";
import { type OpScope, opTest, sum } from "../support/op.ts";
import { normal } from "../support/random.ts";
import { absolute, dotBound } from "../support/tolerance.ts";

/** out[m, n] = Σ_k a(m, k) b(k, n), in f64. */
function product(
  [M, N, K]: readonly [number, number, number],
  a: (m: number, k: number) => number,
  b: (k: number, n: number) => number,
): Float64Array {
  return Float64Array.from({ length: M * N }, (_, i) => {
    let total = 0;
    for (let k = 0; k < K; k++) total += a(Math.floor(i / N), k) * b(k, i % N);
    return total;
  });
}

async function check(scope: OpScope, [R, C, N]: readonly [number, number, number]): Promise<void> {
  const [x, w, dout, before] = [R * C, N * C, R * N, N * C].map((count, i) => normal(i + 1, count));
  const inp = scope.variable("inp", [R, C], x!);
  const weight = scope.parameter("score", [N, C], w!, before!);
  const out = score(scope.plan, inp, weight);
  await scope.run(out, dout!, [inp]);
  const forward = (x: ArrayLike<number>, w: ArrayLike<number>) =>
    product([R, N, C], (r, c) => x[r * C + c]!, (c, n) => w[n * C + c]!);
  const dinp = (dout: ArrayLike<number>, w: ArrayLike<number>) =>
    product([R, C, N], (r, n) => dout[r * N + n]!, (n, c) => w[n * C + c]!);
  const dweight = (dout: ArrayLike<number>, x: ArrayLike<number>) =>
    product([N, C, R], (n, r) => dout[r * N + n]!, (r, c) => x[r * C + c]!);
  const [ax, aw, adout] = [absolute(x!), absolute(w!), absolute(dout!)];
  const { device } = scope;
  assertClose(await device.read(out), forward(x!, w!), { bound: dotBound(forward(ax, aw), C) });
  assertClose(await scope.gradient(inp), dinp(dout!, w!), { bound: dotBound(dinp(adout, aw), N) });
  assertClose(await device.read(weight.grad!), sum(before!, dweight(dout!, x!)), {
    bound: dotBound(sum(absolute(before!), dweight(adout, ax)), R),
  });
}

for (const dims of [[1, 4, 1], [3, 7, 2], [32, 128, 1], [32, 128, 2], [33, 40, 6]] as const) {
  opTest(`score() matches the reference at (${dims.join(", ")})`, (scope) => check(scope, dims));
}
opTest("score() without subgroups matches the reference", (scope) => check(scope, [5, 36, 3]), {
  subgroups: false,
});

opTest("score() says which shapes do not fit", (scope) => {
  const inp = scope.variable("inp", [2, 3], normal(1, 6));
  const weight = scope.parameter("score.weight", [2, 4], normal(2, 8));
  assertThrows(
    () => score(scope.plan, inp, weight),
    RangeError,
    'Cannot record score: "inp" must end in C of "score.weight" (N, C): got (2, 3) and (2, 4)',
  );
  return Promise.resolve();
});

import { assertEquals } from "@std/assert";
import { assertClose } from "../support/close.ts";
import { uniform } from "../support/random.ts";
import { assertGradient, weightedSum } from "./finite_difference.ts";
import {
  erf,
  erfc,
  geluBackward,
  geluExactBackward,
  geluExactForward,
  geluForward,
} from "./gelu.ts";

// x, erf(x), erfc(x) from mpmath at 40 digits.
const KNOWN = [
  [1e-10, 1.1283791670955126e-10, 0.99999999988716208],
  [0.1, 0.1124629160182849, 0.8875370839817151],
  [0.5, 0.52049987781304654, 0.47950012218695346],
  [0.999, 0.84228527020649694, 0.15771472979350306],
  [1, 0.84270079294971487, 0.15729920705028513],
  [1.5, 0.96610514647531073, 0.033894853524689273],
  [1.999, 0.99530155665137051, 0.0046984433486294877],
  [2, 0.99532226501895273, 0.0046777349810472658],
  [2.001, 0.99534289071852465, 0.0046571092814753503],
  [2.5, 0.99959304798255504, 0.00040695201744495894],
  [3, 0.99997790950300141, 2.2090496998585441e-5],
  [4, 0.9999999845827421, 1.5417257900280019e-8],
  [5.5, 0.99999999999999264, 7.3578479179743981e-15],
  [6, 0.99999999999999998, 2.1519736712498913e-17],
  [10, 1.0, 2.0884875837625448e-45],
  [26, 1.0, 5.6631924088561428e-296],
  [-0.5, -0.52049987781304654, 1.5204998778130465],
  [-3, -0.99997790950300141, 1.9999779095030014],
] as const;

Deno.test("erf() and erfc() give mpmath's values", () => {
  for (const [x, wantErf, wantErfc] of KNOWN) {
    assertClose(erf(x), wantErf, { rtol: 1e-15, label: `erf(${x})` });
    // Below 1, 1 - erf(x) magnifies erf's error by up to 5; above, exp(-x^2) is off by the rounding
    // of x^2, which is x^2 units of roundoff.
    const rtol = 4e-15 + x * x * 2 ** -53;
    assertClose(erfc(x), wantErfc, { rtol, label: `erfc(${x})` });
  }
});

Deno.test("erf() and erfc() hold at the ends and carry NaN", () => {
  assertEquals([erf(0), erf(Infinity), erf(-Infinity)], [0, 1, -1]);
  assertEquals([erfc(0), erfc(Infinity), erfc(-Infinity)], [1, 0, 2]);
  assertEquals([erf(NaN), erfc(NaN)], [NaN, NaN]);
});

for (
  const [name, forward, backward] of [
    ["geluBackward()", geluForward, geluBackward],
    ["geluExactBackward()", geluExactForward, geluExactBackward],
  ] as const
) {
  for (const count of [1, 7, 129]) {
    Deno.test(`${name} is the gradient at (${count})`, () => {
      const inp = Float64Array.from(uniform(1, count, -6, 6));
      const dout = uniform(2, count);
      const loss = () => weightedSum(forward(inp), dout);
      assertGradient(loss, inp, backward(dout, inp), { label: "dinp" });
    });
  }
}

Deno.test("both forms of GELU differ by less than 5e-4 and are 0 or x far out", () => {
  const inp = uniform(3, 1000, -6, 6);
  assertClose(geluForward(inp), geluExactForward(inp), { atol: 5e-4 });
  assertEquals([...geluForward([0, 100, -100])].map(Math.abs), [0, 100, 0]);
  assertEquals([...geluExactForward([0, 100, -100])].map(Math.abs), [0, 100, 0]);
});

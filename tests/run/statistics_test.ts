import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { PhiloxStream } from "../../src/random/philox.ts";
import { fitPowerLaw, predictLoss } from "../../src/run/power_law.ts";
import { bootstrapMean, mcNemar, wilson } from "../../src/run/statistics.ts";

Deno.test("wilson() has the published ends, and stays in [0, 1]", () => {
  // Wilson's interval of 0 and of all of 10, as textbooks have it.
  assertAlmostEquals(wilson(0, 10).high, 0.2775, 1e-4);
  assertAlmostEquals(wilson(10, 10).low, 0.7225, 1e-4);
  assertEquals(wilson(0, 10).low, 0);
  assertAlmostEquals(wilson(10, 10).high, 1, 1e-12);
  assert(wilson(10, 10).high <= 1);
  assertThrows(() => wilson(3, 2), RangeError, "want a part of 1 or more: got 3 of 2");
  assertThrows(() => wilson(0, 0), RangeError);
});

Deno.test("bootstrapMean() is as wide as the normal distribution says", () => {
  const stream = new PhiloxStream(3);
  const values = Array.from({ length: 400 }, () => stream.normal());
  const { value, low, high } = bootstrapMean(values);
  const half = 1.96 / Math.sqrt(400);
  assertAlmostEquals(high - value, half, 0.03);
  assertAlmostEquals(value - low, half, 0.03);
  assertEquals(bootstrapMean(values), { value, low, high }, "the same draws");
  assertThrows(() => bootstrapMean([]), RangeError, "want values: got none");
});

Deno.test("mcNemar() is the binomial test of what only one got right", () => {
  const flags = (text: string) => Array.from(text, (char) => char === "1");
  assertEquals(mcNemar(flags("1100"), flags("1010")), { onlyFirst: 1, onlySecond: 1, p: 1 });
  assertAlmostEquals(mcNemar(flags("111111"), flags("000000")).p, 2 / 2 ** 6, 1e-12);
  const many = mcNemar(flags("1".repeat(3000)), flags("0".repeat(1600) + "1".repeat(1400)));
  assert(many.p >= 0 && many.p < 1e-300);
  assertThrows(() => mcNemar([true], []), RangeError, "want the same items twice: got 1 and 0");
});

Deno.test("fitPowerLaw() finds the law behind points, with a floor and without", () => {
  for (const [a, b, c] of [[8, -0.3, 0], [3, -0.5, 0.7], [40, -0.2, 0.4]] as const) {
    const points = [1e3, 3e3, 1e4, 3e4, 1e5].map((compute) => ({
      compute,
      loss: a * compute ** b + c,
    }));
    const law = fitPowerLaw(points);
    const wanted = a * 1e7 ** b + c;
    assertAlmostEquals(predictLoss(law, 1e7) / wanted, 1, 0.02);
    assert(law.error < 1e-3);
  }
  const rising = [1, 2, 3].map((compute) => ({ compute, loss: compute }));
  assertThrows(() => fitPowerLaw(rising), RangeError, "want losses that fall with compute");
  assertThrows(() => fitPowerLaw(rising.slice(1)), RangeError, "want 3 points or more: got 2");
});

import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { summarise } from "../../src/eval/metrics.ts";
import { bootstrap, mcnemar, wilson } from "../../src/eval/statistics.ts";
import { PhiloxStream } from "../../src/random/philox.ts";

Deno.test("wilson() is the interval of Wilson's formula", () => {
  // Roots of (p - x)^2 = z^2 x (1 - x) / n, which is how the interval is defined.
  for (const [k, n] of [[0, 1], [1, 1], [0, 20], [8, 10], [500, 1000], [999, 1000]] as const) {
    for (const x of wilson(k, n)) {
      if (x === 0 || x === 1) continue;
      assertAlmostEquals((k / n - x) ** 2, 1.959963984540054 ** 2 * x * (1 - x) / n, 1e-12);
    }
  }
  assertAlmostEquals(wilson(0, 10)[0], 0, 1e-12);
  assertAlmostEquals(wilson(10, 10)[1], 1, 1e-12);
});

Deno.test("wilson() covers the true share about 95 times in 100", () => {
  const random = new PhiloxStream(3, 0);
  let covered = 0;
  for (let trial = 0; trial < 2000; trial++) {
    const share = 0.05 + 0.9 * random.uniform();
    let right = 0;
    for (let i = 0; i < 60; i++) if (random.uniform() < share) right++;
    const [low, high] = wilson(right, 60);
    if (low <= share && share <= high) covered++;
  }
  assert(covered > 0.93 * 2000 && covered < 0.97 * 2000, `${covered} of 2000`);
});

Deno.test("bootstrap() covers a mean about 95 times in 100, and repeats itself", () => {
  const random = new PhiloxStream(4, 0);
  const mean = ([sum]: readonly number[], count: number) => sum! / count;
  let covered = 0;
  for (let trial = 0; trial < 120; trial++) {
    const rows = Array.from({ length: 40 }, () => [random.uniform() + random.uniform()]);
    const [low, high] = bootstrap(rows, mean)!;
    if (low <= 1 && 1 <= high) covered++;
    if (trial === 0) assertEquals(bootstrap(rows, mean), [low, high]);
  }
  assert(covered >= 106 && covered <= 120, `${covered} of 120`);
  assertEquals(bootstrap([[1]], mean), undefined);
});

Deno.test("mcnemar() is the two-sided binomial test", () => {
  const exact = (a: number, b: number) => {
    const n = a + b;
    const choose = (k: number) => {
      let value = 1;
      for (let i = 0; i < k; i++) value = value * (n - i) / (i + 1);
      return value;
    };
    let tail = 0;
    for (let k = 0; k <= Math.min(a, b); k++) tail += choose(k);
    return Math.min(1, 2 * tail / 2 ** n);
  };
  for (const [a, b] of [[0, 0], [1, 0], [6, 0], [3, 3], [10, 2], [2, 10], [15, 30]] as const) {
    assertAlmostEquals(mcnemar(a, b), exact(a, b), 1e-12);
  }
  assertAlmostEquals(mcnemar(5000, 5000), 1, 1e-9);
  assert(mcnemar(6000, 4000) < 1e-80);
});

Deno.test("metrics over items: shares, means, ratios of sums", () => {
  const accuracy = summarise("acc", [[1], [0], [1], [1]]);
  assertEquals([accuracy.value, accuracy.items], [0.75, 4]);
  assertEquals(accuracy.interval, wilson(3, 4));
  // Two texts: 3 nats over 3 tokens and 1 over 1; the mean of perplexities would be the same only
  // by chance.
  const perplexity = summarise("token_perplexity", [[3, 1], [1, 3]]);
  assertAlmostEquals(perplexity.value, Math.exp(4 / 4), 1e-12);
  const bits = summarise("bits_per_byte", [[Math.LN2 * 16, 8]]);
  assertAlmostEquals(bits.value, 2, 1e-12);
  assertEquals(bits.interval, null);
});

import { assert, assertAlmostEquals, assertEquals, assertLess } from "@std/assert";
import {
  type Aggregate,
  countVotes,
  isEnough,
  leadProbability,
  type StopRule,
} from "../../src/prompt/cot_votes.ts";
import { PhiloxStream } from "../../src/random/philox.ts";

function ballot(key: string | undefined, logProbability = -1, meanLogProbability = -1) {
  return { key, logProbability, meanLogProbability };
}

function winner(keys: readonly (string | undefined)[]): string | undefined {
  return countVotes(keys.map((key) => ballot(key)), "majority")[0]?.key;
}

Deno.test("a majority wins; of equal counts the one that came first", () => {
  const keys = ["a", undefined, "b", "b", "a", "c"];
  assertEquals(countVotes(keys.map((key) => ballot(key)), "majority"), [
    { key: "a", first: 0, count: 2, weight: 0.4 },
    { key: "b", first: 2, count: 2, weight: 0.4 },
    { key: "c", first: 5, count: 1, weight: 0.2 },
  ]);
  assertEquals(countVotes([ballot(undefined)], "majority"), []);
  assertEquals(countVotes([], "logprob"), []);
});

Deno.test("votes weigh by the probability of a path, or of its tokens", () => {
  // Two short sure paths for "a", three long ones for "b" whose tokens are likelier.
  const ballots = [
    ballot("a", -400, -4),
    ballot("a", -401, -4),
    ballot("b", -402, -0.5),
    ballot("b", -402, -0.5),
    ballot("b", -402, -0.5),
  ];
  const weights = (aggregate: Aggregate) => countVotes(ballots, aggregate);
  const total = 1 + Math.exp(-1) + 3 * Math.exp(-2);
  const [first] = weights("logprob");
  assertEquals(first!.key, "a");
  assertAlmostEquals(first!.weight, (1 + Math.exp(-1)) / total, 1e-12);
  assertEquals(weights("length_norm")[0]!.key, "b");
  assertEquals(weights("majority")[0]!.key, "b");
  for (const aggregate of ["logprob", "length_norm", "majority"] as const) {
    const all = weights(aggregate).reduce((sum, { weight }) => sum + weight, 0);
    assertAlmostEquals(all, 1, 1e-12);
  }
  const impossible = [ballot("a", -Infinity), ballot("b", -Infinity)];
  assertEquals(countVotes(impossible, "logprob").map(({ weight }) => weight), [0.5, 0.5]);
});

Deno.test("the probability of a lead is that of the Beta distribution", () => {
  // The integral of x^a (1 - x)^b above 1/2 over that of all, by Simpson's rule.
  const integral = (a: number, b: number, from: number) => {
    const steps = 20_000;
    const width = (1 - from) / steps;
    let sum = 0;
    for (let i = 0; i <= steps; i++) {
      const x = from + i * width;
      const factor = i === 0 || i === steps ? 1 : i % 2 === 1 ? 4 : 2;
      sum += factor * x ** a * (1 - x) ** b;
    }
    return sum * width / 3;
  };
  for (const [a, b] of [[1, 0], [4, 0], [5, 5], [7, 3], [20, 11], [3, 9]] as const) {
    assertAlmostEquals(leadProbability(a, b), integral(a, b, 0.5) / integral(a, b, 0), 1e-9);
  }
  assertEquals(leadProbability(128, 0), 1 - 2 ** -129);
});

Deno.test("the rules stop where they say", () => {
  const stops = (rule: StopRule, keys: readonly (string | undefined)[]) => {
    const at = keys.findIndex((_, index) => isEnough(keys.slice(0, index + 1), rule));
    return at === -1 ? undefined : at + 1;
  };
  const window: StopRule = { rule: "window", window: 3 };
  assertEquals(stops(window, ["a", "a", "a", "b"]), 3);
  assertEquals(stops(window, ["a", "b", "b", "b", "b", "b"]), 6); // windows do not overlap
  assertEquals(stops(window, [undefined, undefined, undefined]), undefined);
  assertEquals(stops(window, ["a", undefined, "a"]), undefined);
  const beta: StopRule = { rule: "beta", confidence: 0.95 };
  assertEquals(stops(beta, ["a", "a", "a", "a", "a"]), 4); // 31/32
  assertEquals(stops(beta, ["a", undefined, "a", "a", "a"]), 5);
  assertEquals(stops(beta, ["a", "b", "a", "b", "a", "b"]), undefined);
  assertEquals(stops({ rule: "none" }, ["a", "a", "a", "a", "a"]), undefined);
});

const ITEMS = 500;
const SAMPLES = 40;

/** Answers of a model that is right with a chance that differs by item, wrong in four ways. */
function simulate(item: number): (string | undefined)[] {
  const random = new PhiloxStream(20_230_519, item);
  const right = 0.3 + 0.69 * random.uniform();
  const shares = [right];
  for (let wrong = 0, rest = 1 - right; wrong < 4; wrong++) {
    const share = wrong === 3 ? rest : rest * random.uniform();
    shares.push(share);
    rest -= share;
  }
  return Array.from({ length: SAMPLES }, () => {
    if (random.uniform() < 0.03) return undefined; // no answer could be read
    let draw = random.uniform();
    const at = shares.findIndex((share) => (draw -= share) < 0);
    return String(at === -1 ? 4 : at);
  });
}

for (
  const { rule, most } of [
    { rule: { rule: "beta", confidence: 0.95 }, most: 0.05 },
    { rule: { rule: "beta", confidence: 0.99 }, most: 0 },
    { rule: { rule: "beta", confidence: 0.9999 }, most: 0 },
    { rule: { rule: "window", window: 5 }, most: 0.05 },
    { rule: { rule: "window", window: 10 }, most: 0 },
  ] as { rule: StopRule; most: number }[]
) {
  const name = rule.rule === "beta" ? `beta ${rule.confidence}` : Object.values(rule).join(" ");
  Deno.test(`early stop "${name}" keeps the answers of ${ITEMS} items`, () => {
    let changed = 0;
    let used = 0;
    for (let item = 0; item < ITEMS; item++) {
      const keys = simulate(item);
      const at = keys.findIndex((_, index) => isEnough(keys.slice(0, index + 1), rule));
      const kept = at === -1 ? keys : keys.slice(0, at + 1);
      used += kept.length;
      if (winner(kept) !== winner(keys)) changed++;
    }
    const saved = 1 - used / (ITEMS * SAMPLES);
    console.log(
      `${name}: ${changed} of ${ITEMS} answers changed, ${(100 * saved).toFixed(0)} % of ` +
        `${SAMPLES} samples saved`,
    );
    assert(changed <= most * ITEMS, `${changed} of ${ITEMS} changed`);
    assertLess(0.1, saved);
  });
}

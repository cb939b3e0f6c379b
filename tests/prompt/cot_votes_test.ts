import { assert, assertAlmostEquals, assertEquals, assertLess } from "@std/assert";
import {
  type Aggregate,
  countVotes,
  isEnough,
  leadProbability,
  type StopRule,
} from "../../src/prompt/cot_votes.ts";
import { simulateVotes, winnerOf } from "../../bench/vote_streams.ts";
import { PhiloxStream } from "../../src/random/philox.ts";

function ballot(key: string | undefined, logProbability = -1, meanLogProbability = -1) {
  return { key, logProbability, meanLogProbability };
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

Deno.test("certain is when no vote that is left can change the answer", () => {
  const certain: StopRule = { rule: "certain" };
  const stops = (keys: readonly (string | undefined)[], samples: number) => {
    const at = Array.from({ length: samples + 1 }, (_, kept) => kept)
      .find((kept) => isEnough(keys.slice(0, kept), certain, samples));
    return at;
  };
  assertEquals(stops(["a", "a", "a", "b", "b"], 5), 3);
  assertEquals(stops(["a", "a", "b", "b"], 4), 2); // 2 to 2 at most, and "a" was first
  assertEquals(stops(["b", "a", "a", "a"], 4), 4); // 2 to 2 would be "b"'s
  assertEquals(stops(["b", "a", "a", "a", "a"], 5), 4);
  assertEquals(stops([undefined, "a", undefined, "b"], 4), 3);
  assertEquals(stops([undefined, undefined], 2), 2);
  assertEquals(isEnough(["a", "a", "a"], certain), false); // no end is known
  // The other rules stop there, too; "none" never does.
  assertEquals(isEnough(["a", "a", "a"], { rule: "beta", confidence: 0.999 }, 5), true);
  assertEquals(isEnough(["a", "a", "a"], { rule: "none" }, 5), false);
});

Deno.test("certain is as early as can be: all ways to go on are tried", () => {
  const SAMPLES = 6;
  const keys = ["a", "b", undefined, "c"];
  const ends = (begun: readonly (string | undefined)[]): Set<string | undefined> => {
    if (begun.length === SAMPLES) return new Set([winnerOf(begun)]);
    return new Set(keys.flatMap((key) => [...ends([...begun, key])]));
  };
  const random = new PhiloxStream(5, 0);
  for (let trial = 0; trial < 200; trial++) {
    const length = 1 + random.integer(SAMPLES);
    const begun = Array.from({ length }, () => keys[random.integer(3)]); // "c" is new
    const isOpen = ends(begun).size > 1;
    assertEquals(isEnough(begun, { rule: "certain" }, SAMPLES), !isOpen, begun.join(" "));
  }
});

const ITEMS = 500;
const SAMPLES = 40;

for (
  const { rule, most } of [
    { rule: { rule: "certain" }, most: 0 },
    { rule: { rule: "beta", confidence: 0.95 }, most: 0.05 },
    { rule: { rule: "beta", confidence: 0.999 }, most: 0 },
    { rule: { rule: "window", window: 5 }, most: 0.05 },
    { rule: { rule: "window", window: 10 }, most: 0 },
  ] as { rule: StopRule; most: number }[]
) {
  const name = Object.values(rule).join(" ");
  Deno.test(`early stop "${name}" keeps the answers of ${ITEMS} items`, () => {
    let changed = 0;
    let used = 0;
    for (let item = 0; item < ITEMS; item++) {
      const keys = simulateVotes(item, SAMPLES);
      let kept = 0;
      while (kept < SAMPLES && !isEnough(keys.slice(0, kept), rule, SAMPLES)) kept++;
      used += kept;
      if (winnerOf(keys.slice(0, kept)) !== winnerOf(keys)) changed++;
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

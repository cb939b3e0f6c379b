import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { HONEST_NOISE, World } from "../../bench/feedback_world.ts";
import { pairFeatures, wordsOf } from "../../src/feedback/guard_features.ts";
import { FlipPosterior } from "../../src/feedback/guard_flips.ts";
import { type GuardReport, weighPairs } from "../../src/feedback/guard.ts";
import { PreferenceModel, temperatureOf } from "../../src/feedback/guard_model.ts";
import { topicsOf } from "../../src/feedback/guard_topics.ts";

function drive<T>(work: Generator<void, T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

Deno.test("pairFeatures() turn around with the pair, and are none of equal texts", () => {
  const options = { topic: 2 };
  const there = pairFeatures("say a word", ["a word, 2 words", "nothing"], options);
  const back = pairFeatures("say a word", ["nothing", "a word, 2 words"], options);
  const sums = (vector: typeof there) =>
    new Map([...vector.at].map((at, i) => [at, vector.values[i]!] as const));
  const turned = sums(back);
  for (const [at, value] of sums(there)) assertEquals(turned.get(at), -value);
  assertEquals(there.at.length, new Set(there.at).size);
  assertEquals(pairFeatures("p", ["same", "same"], options).at.length, 0);
  assertEquals(wordsOf("Don't, Ärger 42!"), ["don", "'", "t", ",", "ärger", "42", "!"]);
});

Deno.test("PreferenceModel learns which word is better, and the weights of pairs count", () => {
  const pair = (good: string, bad: string) =>
    pairFeatures("p", [`the ${good} one`, `the ${bad} one`], { topic: 0 });
  const pairs = Array.from(
    { length: 60 },
    (_, i) => i < 40 ? pair("sun", "rain") : pair("rain", "sun"),
  );
  const fit = (weights: number[]) => drive(PreferenceModel.fit(pairs, weights)).score(pairs[0]!);
  assert(fit(pairs.map(() => 1)) > 0.2);
  assert(fit(pairs.map((_, i) => i < 40 ? 0 : 1)) < -1);
  assertEquals(fit(pairs.map(() => 0)), 0);
});

Deno.test("temperatureOf() undoes too much certainty", () => {
  const scores = Array.from({ length: 100 }, (_, i) => i < 75 ? 8 : -8);
  const weights = scores.map(() => 1);
  // log(3) is what 75 of 100 are worth.
  assertAlmostEquals(8 * temperatureOf(scores, weights), Math.log(3), 0.2);
});

Deno.test("FlipPosterior finds the share of turned verdicts, and what is unsure says nothing", () => {
  const flips = new FlipPosterior(0.1, 4);
  for (let i = 0; i < 400; i++) flips.see(i % 4 === 0 ? 0.05 : 0.95);
  // p = (1 − f)·0.95 + f·0.05 = 0.75 at f = 0.222
  assertAlmostEquals(flips.mean, 0.222, 0.02);
  assert(flips.above(0.35) < 1e-3);
  const unsure = new FlipPosterior(0.1, 4);
  const before = unsure.mean;
  for (let i = 0; i < 400; i++) unsure.see(0.5);
  assertAlmostEquals(unsure.mean, before, 1e-9);
});

Deno.test("topicsOf() puts prompts of one vocabulary together", () => {
  const kinds = ["apple pear plum fig", "gear bolt nut screw", "rain wind snow hail"];
  const prompts = Array.from({ length: 150 }, (_, i) => {
    const words = kinds[i % 3]!.split(" ");
    return `please tell ${words[i % 4]} and ${words[(i + 1 + i % 2) % 4]} number${i}`;
  });
  const topics = topicsOf(prompts);
  for (const topic of new Set(topics)) {
    const own = new Set(prompts.flatMap((_, i) => topics[i] === topic ? [i % 3] : []));
    assertEquals(own.size, 1, `topic ${topic} is of kinds ${[...own]}`);
  }
  assertEquals(new Set(topicsOf(prompts.slice(0, 20))), new Set([0]), "too few to tell apart");
});

function summary({ labelers }: GuardReport) {
  const out = labelers.filter((one) => one.isQuarantined || one.quarantinedTopics.length > 0);
  return out.map(({ labeler }) => labeler);
}

Deno.test("weighPairs() finds who turns verdicts around, however much they send", () => {
  const world = new World(3);
  const honest = world.honest({ count: 8 });
  const flood = Array.from(
    { length: 1.5 * honest.length },
    () => world.verdict(world.pair(), "liar", { flips: 1 - HONEST_NOISE, isAttack: true }),
  );
  const pairs = [...honest, ...flood];
  const report = drive(weighPairs(pairs));
  assert(report.isSufficient);
  assertEquals(summary(report), ["liar"]);
  assertEquals(report.weights.length, pairs.length);
  pairs.forEach(({ isAttack }, i) => assertEquals(report.weights[i]! > 0, !isAttack));
  const liar = report.labelers.find(({ labeler }) => labeler === "liar")!;
  assert(liar.flipRate > 0.5 && liar.agreement < 0.4 && liar.weight === 0, JSON.stringify(liar));
  for (const { flipRate, weight } of report.labelers.filter((one) => one !== liar)) {
    assert(flipRate < 0.2 && weight > 0.4, `${flipRate} ${weight}`);
  }
});

Deno.test("weighPairs() holds an honest flood to twice the median, and out of no quarantine", () => {
  const world = new World(5);
  const honest = world.honest({ count: 6 });
  const flood = Array.from(
    { length: 2 * honest.length },
    () => world.verdict(world.pair(), "busy", { flips: HONEST_NOISE }),
  );
  const report = drive(weighPairs([...honest, ...flood]));
  assertEquals(summary(report), []);
  const sum = (busy: boolean) =>
    report.weights.reduce((sum, w, i) => (i >= honest.length) === busy ? sum + w : sum, 0);
  assert(sum(true) < 0.5 * sum(false), `${sum(true)} of ${sum(false)}`);
});

Deno.test("weighPairs() says so where there is too little to compare", () => {
  const world = new World(1);
  for (const [count, labelers] of [[200, 2], [30, 5]] as const) {
    const pairs = Array.from(
      { length: count },
      (_, i) => world.verdict(world.pair(), `l${i % labelers}`, { flips: 0.5 }),
    );
    const report = drive(weighPairs(pairs));
    assertEquals([report.isSufficient, summary(report)], [false, []]);
    assertEquals(report.labelers.length, labelers);
    assert(report.weights.every((weight) => weight === 1));
  }
  assertEquals(drive(weighPairs([])).labelers, []);
});

Deno.test("weighPairs() says the same of the same data", () => {
  const world = new World(2);
  const pairs = world.honest({ count: 4 });
  assertEquals(drive(weighPairs(pairs)), drive(weighPairs(pairs)));
});

import { assert, assertAlmostEquals, assertEquals, assertNotEquals } from "@std/assert";
import {
  dropOldest,
  type SelectionOptions,
  ShotSelector,
  TextSimilarity,
} from "../../src/prompt/few_shot_shots.ts";

const SHOTS = [
  { input: "the film was good", output: "pos" },
  { input: "a good meal", output: "pos" },
  { input: "what a long film", output: "neg" },
  { input: "the food came late", output: "neg" },
  { input: "great music", output: "pos" },
  { input: "good grief", output: "pos" },
];
const GIVEN: SelectionOptions = {
  strategy: "given",
  balanceLabels: false,
  order: "given",
  seed: 0,
};

function select(options: Partial<SelectionOptions>, input = ""): number[] {
  const selector = new ShotSelector(SHOTS, { ...GIVEN, ...options });
  return selector.select(input).map((shot) => SHOTS.indexOf(shot));
}

Deno.test("the first k examples, in the order they were given", () => {
  assertEquals(select({}), [0, 1, 2, 3, 4, 5]);
  assertEquals(select({ k: 2 }), [0, 1]);
  assertEquals(select({ k: 0 }), []);
  assertEquals(select({ k: 99 }), [0, 1, 2, 3, 4, 5]);
});

Deno.test("drawn examples depend on the seed only", () => {
  const draws = Array.from({ length: 30 }, (_, seed) => select({ k: 3, strategy: "random", seed }));
  for (const [seed, draw] of draws.entries()) {
    assertEquals(select({ k: 3, strategy: "random", seed }, "another input"), draw);
    assertEquals(draw.toSorted(), draw, "in the order they were given");
    assertEquals(new Set(draw).size, 3);
  }
  assert(new Set(draws.map(String)).size > 10);
  assertEquals(new Set(draws.flat()).size, SHOTS.length, "each is drawn at times");
});

Deno.test("similar examples share words with the input, rare ones the most", () => {
  assertEquals(select({ k: 1, strategy: "similar" }, "Great food? MUSIC!"), [4]);
  assertEquals(select({ k: 2, strategy: "similar" }, "film"), [0, 2]);
  assertEquals(select({ k: 2, strategy: "similar" }, "zzz"), [0, 1], "of equals the first");
  assertEquals(select({ k: 3, strategy: "similar", order: "similar_last" }, "long film"), [
    1,
    0,
    2,
  ]);
});

Deno.test("balanced labels take turns as far as they go", () => {
  assertEquals(select({ k: 4, balanceLabels: true }), [0, 1, 2, 3]);
  assertEquals(select({ k: 2, balanceLabels: true }), [0, 2]);
  assertEquals(select({ k: 5, balanceLabels: true }), [0, 1, 2, 3, 4]);
  for (let seed = 0; seed < 20; seed++) {
    const outputs = select({ k: 4, balanceLabels: true, strategy: "random", seed })
      .map((index) => SHOTS[index]!.output);
    assertEquals(outputs.toSorted(), ["neg", "neg", "pos", "pos"]);
  }
});

Deno.test("shuffled examples are the same ones in another order", () => {
  const one = select({ order: "shuffle", seed: 1 });
  assertEquals(one.toSorted(), [0, 1, 2, 3, 4, 5]);
  assertEquals(select({ order: "shuffle", seed: 1 }), one);
  assertNotEquals(select({ order: "shuffle", seed: 2 }), one);
});

Deno.test("cosines of TF-IDF vectors, by hand", () => {
  // Words and their weights: a ln(3/3) + 1 = 1, b and c ln(3/2) + 1, unseen ln(3) + 1.
  const idf = Math.log(3 / 2) + 1;
  const similarity = new TextSimilarity(["a b", "a c c"]);
  const [first, second] = similarity.to("A, b; z");
  const norm = Math.hypot(1, idf, Math.log(3) + 1);
  assertAlmostEquals(first!, (1 + idf ** 2) / (norm * Math.hypot(1, idf)), 1e-12);
  assertAlmostEquals(second!, 1 / (norm * Math.hypot(1, 2 * idf)), 1e-12);
  assertEquals(similarity.to(""), [0, 0]);
  assertAlmostEquals(similarity.to("a c c")[1]!, 1, 1e-12);
  const japanese = new TextSimilarity(["猫が好きです", "犬が走る"]).to("猫は寝る");
  assert(japanese[0]! > japanese[1]!, "words are found without spaces");
});

Deno.test("as few of the first as it takes are dropped", () => {
  for (let most = 0; most <= 7; most++) {
    const left = dropOldest(SHOTS, ({ length }) => length <= most);
    assertEquals(left, SHOTS.slice(Math.max(0, SHOTS.length - most)));
  }
  assertEquals(dropOldest(SHOTS, () => false), []);
});

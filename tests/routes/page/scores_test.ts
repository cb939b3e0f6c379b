import { assertAlmostEquals, assertEquals } from "@std/assert";
import { count, fixed, labelBars, softmax, voteBars } from "../../../routes/page/scores.js";
import { FakeServe } from "../../support/serve.ts";

const NORMALIZATIONS = ["none", "char", "byte", "token", "unconditional", "calibrated"] as const;

Deno.test("labelBars() shows what the API would have decided, for each normalization", async () => {
  for (const normalization of NORMALIZATIONS) {
    const serve = new FakeServe();
    const labels = ["good", "terrible", "so and so"];
    const scoring = { normalization };
    const { results: [result] } = await serve.ok("/v1/few-shot", { input: "x", labels, scoring });
    const bars = labelBars(result.scores, normalization);
    assertEquals(bars.map(({ isBest }) => isBest), [true, false, false]);
    assertEquals(bars[0]!.name, result.label, normalization);
    for (const { name, share } of bars) {
      // deno-lint-ignore no-explicit-any
      const { prob } = result.scores.find((score: any) => score.label === name);
      assertAlmostEquals(share, prob, 1e-6, `${normalization} of ${name}`);
    }
  }
});

Deno.test("labelBars() is empty where the answer lacks a score", async () => {
  const scoring = { return_all: false };
  const body = { input: "x", labels: ["a", "b"], scoring };
  const { results: [result] } = await new FakeServe().ok("/v1/few-shot", body);
  assertEquals(labelBars(result.scores, "calibrated"), []);
  assertEquals(labelBars(result.scores, "none").length, 2);
});

Deno.test("voteBars() keeps the order and the words", () => {
  const votes = [{ answer: "7", count: 4, weight: 0.8 }, { answer: "17", count: 1, weight: 0.2 }];
  assertEquals(voteBars(votes), [
    { name: "7", share: 0.8, isBest: true, detail: "4 votes" },
    { name: "17", share: 0.2, isBest: false, detail: "1 vote" },
  ]);
});

Deno.test("softmax() takes large values, count() and fixed() are for people", () => {
  assertEquals(softmax([1000, 1000]), [0.5, 0.5]);
  assertEquals([count(1, "vote"), count(0, "vote")], ["1 vote", "0 votes"]);
  assertEquals(fixed(-1.238), "−1.24");
});

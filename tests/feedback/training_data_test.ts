import { assertEquals } from "@std/assert";
import { readCorrections, readPairs } from "../../src/feedback/training_data.ts";
import { comparison, memoryFeedback } from "../support/feedback.ts";

Deno.test("readPairs() gives what rankings and comparisons decide, without ties", async () => {
  using opened = memoryFeedback();
  const { store } = opened.feedback;
  await store.save(comparison("one", {
    judgement: { type: "comparison", chosen: 1, rejected: 0, outcome: "chosen", strength: 3 },
    confidence: 8,
    details: { presentedOrder: [0, 1] },
  }));
  await store.save(comparison("tie", {
    judgement: { type: "comparison", chosen: 1, rejected: 0, outcome: "tie" },
  }));
  await store.save(comparison("rank", {
    candidates: [..."abc"].map((text) => ({ text })),
    judgement: { type: "ranking", ranking: [[2], [0, 1]] },
    split: "valid",
  }));
  await store.save(comparison("no prompt", { prompt: undefined }));
  await store.save(comparison("old"));
  await store.save(comparison("new", { supersedes: "old" }));
  const { items, datasetVersion, withoutPrompt } = await readPairs(store);
  assertEquals([datasetVersion, withoutPrompt], [6, 1]);
  assertEquals(
    items.map((pair) => [pair.feedbackId, pair.chosen.text, pair.rejected.text, pair.split]),
    [
      ["one", "b", "a", "train"],
      ["rank", "c", "a", "valid"],
      ["rank", "c", "b", "valid"],
      ["new", "a", "b", "train"],
    ],
  );
  const [{ strength, confidence, wasShownFirst, weight, prompt } = {}] = items;
  assertEquals([strength, confidence, wasShownFirst, weight, prompt], [3, 8, false, 1, "hello"]);
  assertEquals(items[1]!.wasShownFirst, undefined);
  assertEquals((await readPairs(store, { split: "valid" })).items.length, 2);
  assertEquals((await readPairs(store, { since: 1_800_000_000 })).items, []);
});

Deno.test("readCorrections() gives the texts before and after", async () => {
  using opened = memoryFeedback();
  const { store } = opened.feedback;
  await store.save(comparison("pair"));
  await store.save(comparison("fix", {
    candidates: [{ text: "wrong", tokenIds: [1] }],
    judgement: { type: "correction", text: "right" },
  }));
  const { items } = await readCorrections(store);
  assertEquals(
    items.map(({ feedbackId, original, text, prompt }) => [
      feedbackId,
      original.text,
      original.tokenIds,
      text,
      prompt,
    ]),
    [["fix", "wrong", [1], "right", "hello"]],
  );
});

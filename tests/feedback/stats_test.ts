import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { FeedbackRecord, Judgement, NewFeedback } from "../../src/feedback/feedback_record.ts";
import { StatsCollector } from "../../src/feedback/stats.ts";
import { comparison } from "../support/feedback.ts";

const CHOSEN: Judgement = { type: "comparison", chosen: 0, rejected: 1, outcome: "chosen" };
const OTHER: Judgement = { type: "comparison", chosen: 1, rejected: 0, outcome: "chosen" };
const TIE: Judgement = { type: "comparison", chosen: 0, rejected: 1, outcome: "tie" };

function record(labeler: string, judgement: Judgement, more: Partial<NewFeedback> = {}) {
  const { keyHash: _, bodyHash: __, ...item } = comparison("fb", {
    labeler: { hash: labeler, kind: "human" },
    judgement,
    ...more,
  });
  return { ...item, seq: 1, pairs: 0, datasetVersion: 1, supersededBy: undefined };
}

function statsOf(...records: FeedbackRecord[]) {
  const collector = new StatsCollector();
  for (const record of records) collector.add(record);
  return collector.result();
}

Deno.test("stats of nothing are zeros and nulls", () => {
  const stats = statsOf();
  assertEquals([stats.records, stats.pairs, stats.agreement.alpha], [0, 0, null]);
  assertEquals(stats.positionBias, { share: null, n: 0, low: null, high: null });
});

Deno.test("stats count records, pairs and ties", () => {
  const stats = statsOf(
    record("a", CHOSEN, { candidates: [{ text: "x", model: "m" }, { text: "y", model: "m" }] }),
    record("b", TIE, { split: "valid", promptHash: "other" }),
    record("b", { ...TIE, outcome: "both_bad" } as Judgement),
    record("b", { type: "rating", value: true }),
    record("b", { type: "ranking", ranking: [[2], [0, 1]] }, {
      candidates: [..."abc"].map((text) => ({ text })),
    }),
  );
  assertEquals([stats.records, stats.pairs, stats.ties, stats.bothBad], [5, 3, 3, 1]);
  assertEquals(stats.byType, { comparison: 3, rating: 1, ranking: 1 });
  assertEquals([stats.bySplit, stats.byModel], [{ train: 4, valid: 1 }, { m: 2 }]);
  assertEquals([stats.prompts, stats.labelers], [2, 2]);
  assertEquals(
    stats.perLabeler.map(({ labeler, records, pairs, ties }) => [
      labeler,
      records,
      pairs,
      ties,
    ]),
    [["b", 4, 2, 3], ["a", 1, 1, 0]],
  );
});

Deno.test("agreement is of two labelers on one pair, whatever the order of the texts", () => {
  const turned = { candidates: [{ text: "b" }, { text: "a" }] };
  const on = (promptHash: string) => ({ promptHash });
  const stats = statsOf(
    ...[record("a", CHOSEN, on("1")), record("b", OTHER, { ...turned, ...on("1") })], // the same
    ...[record("a", CHOSEN, on("2")), record("b", OTHER, on("2"))], // not
    ...[record("a", TIE, on("3")), record("b", TIE, on("3")), record("c", CHOSEN, on("3"))],
    record("a", CHOSEN, on("4")), // alone
  );
  // Pairs of labelers: 1 of 1, 0 of 1, 1 of 3.
  assertEquals([stats.agreement.share, stats.agreement.n], [2 / 5, 5]);
  assert(stats.agreement.low! < 0.4 && stats.agreement.high! > 0.4);
  assertEquals(stats.perLabeler.find(({ labeler }) => labeler === "c")!.agreement.share, 0);
});

Deno.test("alpha is Krippendorff's", () => {
  // Krippendorff's nominal example with two observers and 10 units (2011, section A).
  const a = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0];
  const b = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0];
  // Which verdict is "first" hangs on the texts; two values are symmetric.
  const stats = statsOf(...a.flatMap((value, i) => [
    record("a", value ? CHOSEN : TIE, { promptHash: `${i}` }),
    record("b", b[i] ? CHOSEN : TIE, { promptHash: `${i}` }),
  ]));
  assertAlmostEquals(stats.agreement.alpha!, 0.095, 5e-4);
  assertEquals(statsOf(record("a", CHOSEN), record("b", CHOSEN)).agreement.alpha, null);
});

Deno.test("position bias is of what was shown first, length bias of what is longer", () => {
  const shown = (presentedOrder: number[]) => ({ details: { presentedOrder } });
  const texts = { candidates: [{ text: "longer" }, { text: "short" }] };
  const stats = statsOf(
    record("a", CHOSEN, { ...shown([0, 1]), ...texts }),
    record("a", CHOSEN, { ...shown([1, 0]), ...texts }),
    record("a", OTHER, { ...shown([1, 0]), ...texts }),
    record("a", OTHER, { ...shown([1, 0]) }), // texts of one length
    record("a", CHOSEN, texts), // order unknown
    record("a", TIE, { ...shown([0, 1]), ...texts }),
  );
  assertEquals([stats.positionBias.share, stats.positionBias.n], [3 / 4, 4]);
  assertEquals([stats.lengthBias.share, stats.lengthBias.n], [3 / 4, 4]);
  assertEquals(stats.lengthBias.meanDifference, (1 + 1 - 1 + 0 + 1) / 5);
});

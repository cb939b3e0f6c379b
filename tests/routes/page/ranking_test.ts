import { assertEquals } from "@std/assert";
import { feedbackOf, ordinal, Ranking } from "../../../routes/page/ranking.js";
import { feedbackRequest } from "../../../routes/schemas/feedback.ts";

/** Presses keys: digits pick from 0, "=" ties, "<" undoes. */
function press(count: number, keys: string): InstanceType<typeof Ranking> {
  const ranking = new Ranking(count);
  for (const key of keys) {
    if (key === "=") ranking.tie();
    else if (key === "<") ranking.undo();
    else ranking.toggle(Number(key));
  }
  return ranking;
}

Deno.test("Ranking puts answers in order as keys come", () => {
  const cases: [count: number, keys: string, order: number[][] | undefined][] = [
    [2, "", undefined],
    [2, "1", [[1], [0]]],
    [2, "=", [[0, 1]]],
    [2, "==", undefined],
    [2, "0=", [[0, 1]]],
    [2, "0=1", [[0, 1]]],
    [2, "0<1", [[1], [0]]],
    [2, "0=<", [[0], [1]]], // the tie goes first, then the pick
    [2, "01", [[0], [1]]],
    [4, "31", undefined],
    [4, "312", [[3], [1], [2], [0]]],
    [4, "3=12", [[3, 1], [2], [0]]],
    [4, "3=12=", [[3, 1], [2, 0]]],
    [4, "3=1=2=0", [[3, 1, 2, 0]]],
    [4, "31203", [[1], [2], [0], [3]]], // it goes out again, and falls to the end by itself
    [4, "3120<<", undefined],
    [4, "=", [[0, 1, 2, 3]]],
    [4, "3=1<=2", undefined],
    [4, "3=1<=20", [[3, 2], [0], [1]]],
    [4, "9", undefined],
  ];
  for (const [count, keys, order] of cases) {
    assertEquals(press(count, keys).order, order, `${count}: ${keys}`);
  }
});

Deno.test("Ranking tells the places so far, those of ties shared", () => {
  assertEquals(press(4, "3").places, [undefined, undefined, undefined, 1]);
  assertEquals(press(4, "3=12").places, [4, 1, 3, 1]);
  assertEquals(press(2, "=").places, [1, 1]);
  assertEquals([1, 2, 3, 4].map(ordinal), ["1st", "2nd", "3rd", "4th"]);
});

Deno.test("feedbackOf() speaks of candidates, not of places on the page, and fits the schema", () => {
  const task = (order: number[]) => ({
    object: "feedback.task" as const,
    prompt: "p",
    candidates: order.map((_, i) => ({ completion_id: `cmpl-${i}`, text: `${i}` })),
    presented_order: order,
    uncertainty: null,
    judgements: 0,
  });
  const two = task([1, 0]);
  const common = { completion_ids: ["cmpl-0", "cmpl-1"], presented_order: [1, 0] };
  const comparison = (value: unknown) => ({ type: "comparison", ...common, comparison: value });
  // The left one is better: that is candidate 1.
  assertEquals(
    feedbackOf(two, [[0], [1]]),
    comparison({ chosen: 1, rejected: 0, outcome: "chosen" }),
  );
  assertEquals(feedbackOf(two, [[0, 1]]), comparison({ outcome: "tie" }));
  assertEquals(feedbackOf(two, "both_bad"), comparison({ outcome: "both_bad" }));
  const four = feedbackOf(task([2, 0, 3, 1]), [[0], [1, 2], [3]]);
  assertEquals([four.type, four.ranking], ["ranking", [[2], [0, 3], [1]]]);
  for (const body of [feedbackOf(two, [[0], [1]]), feedbackOf(two, "both_bad"), four]) {
    assertEquals(feedbackRequest.safeParse(body).success, true);
  }
});

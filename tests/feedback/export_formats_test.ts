import { assertEquals } from "@std/assert";
import { EXPORTS, type PromptedRecord } from "../../src/feedback/export_formats.ts";
import type { NewFeedback } from "../../src/feedback/feedback_record.ts";
import { comparison } from "../support/feedback.ts";

function record(more: Partial<NewFeedback> = {}): PromptedRecord {
  const { keyHash: _, bodyHash: __, ...item } = comparison("fb-1", {
    prompt: "P",
    promptHash: "ph-1",
    labeler: { hash: "lb-1", kind: "human" },
    created: 5,
    ...more,
  });
  return {
    ...item,
    prompt: item.prompt!,
    seq: 1,
    pairs: 0,
    datasetVersion: 1,
    supersededBy: undefined,
  };
}

const GROUP = { group: "fb-1", split: "train" };
const COMPARED = record({
  candidates: [{ text: " bad", model: "m0" }, { text: " good", model: "m1" }],
  judgement: { type: "comparison", chosen: 1, rejected: 0, outcome: "chosen" },
  confidence: 7,
});
const RANKED = record({
  candidates: [..."abc"].map((text) => ({ text })),
  judgement: { type: "ranking", ranking: [[2], [0, 1]] },
});
const TIE = record({ judgement: { type: "comparison", chosen: 0, rejected: 1, outcome: "tie" } });
const BAD = record({
  judgement: { type: "comparison", chosen: 0, rejected: 1, outcome: "both_bad" },
});
const ONE = { candidates: [{ text: "1\n2" }] };
const STEPS = record({
  ...ONE,
  judgement: { type: "steps", steps: ["1", "2"], labels: [true, false] },
});
const rating = (value: boolean | number) =>
  record({
    ...ONE,
    judgement: {
      type: "rating",
      value,
      ...(typeof value === "number" ? { scale: [1, 7] as const } : {}),
    },
  });

Deno.test("trl_preference and trl_implicit have a row a pair, a ranking's with one group", () => {
  assertEquals(EXPORTS.trl_preference(COMPARED), [
    { prompt: "P", chosen: " good", rejected: " bad", ...GROUP },
  ]);
  assertEquals(EXPORTS.trl_preference(RANKED), [
    { prompt: "P", chosen: "c", rejected: "a", ...GROUP },
    { prompt: "P", chosen: "c", rejected: "b", ...GROUP },
  ]);
  assertEquals(EXPORTS.trl_preference(TIE), []);
  assertEquals(EXPORTS.trl_implicit(COMPARED), [
    { chosen: "P good", rejected: "P bad", ...GROUP },
  ]);
});

Deno.test("trl_unpaired has what is good and what is bad", () => {
  const labels = (of: PromptedRecord) =>
    EXPORTS.trl_unpaired(of).map(({ completion, label }) => [completion, label]);
  assertEquals(EXPORTS.trl_unpaired(rating(true)), [
    { prompt: "P", completion: "1\n2", label: true, ...GROUP },
  ]);
  assertEquals(labels(rating(false)), [["1\n2", false]]);
  assertEquals(labels(rating(5)), [["1\n2", true]]);
  assertEquals(labels(rating(3.9)), [["1\n2", false]]);
  assertEquals(labels(rating(4)), []);
  assertEquals(labels(COMPARED), [[" good", true], [" bad", false]]);
  assertEquals(labels(BAD), [["a", false], ["b", false]]);
  assertEquals(labels(TIE), []);
  assertEquals(labels(RANKED), []);
});

Deno.test("trl_stepwise has steps and their labels", () => {
  assertEquals(EXPORTS.trl_stepwise(STEPS), [
    { prompt: "P", completions: ["1", "2"], labels: [true, false], group: "fb-1" },
  ]);
  assertEquals(EXPORTS.trl_stepwise(COMPARED), []);
});

const CHAT = "<|user|>Hi<|end|><|assistant|>Yes?<|end|><|user|>Go<|end|><|assistant|>";

Deno.test("hh_rlhf and openai_dpo have the turns of a chat", () => {
  assertEquals(EXPORTS.hh_rlhf(COMPARED), [{
    chosen: "\n\nHuman: P\n\nAssistant: good",
    rejected: "\n\nHuman: P\n\nAssistant: bad",
  }]);
  const chat = { ...COMPARED, prompt: CHAT };
  assertEquals(
    EXPORTS.hh_rlhf(chat)[0]!.chosen,
    "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Go\n\nAssistant: good",
  );
  assertEquals(EXPORTS.openai_dpo(chat), [{
    input: {
      messages: [
        { role: "user", content: "Hi" },
        { role: "assistant", content: "Yes?" },
        { role: "user", content: "Go" },
      ],
      tools: [],
      parallel_tool_calls: true,
    },
    preferred_output: [{ role: "assistant", content: " good" }],
    non_preferred_output: [{ role: "assistant", content: " bad" }],
  }]);
});

Deno.test("openai_summarize has the two in the order in which they were shown", () => {
  const summaries = [
    { text: " bad", policy: "m0", note: null },
    { text: " good", policy: "m1", note: null },
  ];
  const row = {
    info: { id: "ph-1", post: "P", title: null, subreddit: null },
    summaries,
    choice: 1,
    worker: "lb-1",
    batch: "fb-1",
    split: "train",
    extra: { confidence: 7 },
  };
  assertEquals(EXPORTS.openai_summarize(COMPARED), [row]);
  const shown = { ...COMPARED, details: { presentedOrder: [1, 0], sessionId: "s" } };
  assertEquals(EXPORTS.openai_summarize(shown), [
    { ...row, summaries: [...summaries].reverse(), choice: 0, batch: "s" },
  ]);
  const held = { ...COMPARED, split: "valid" as const };
  assertEquals(EXPORTS.openai_summarize(held)[0]!.split, "valid1");
});

Deno.test("lmsys has ties, and says which model won", () => {
  const [row] = EXPORTS.lmsys(COMPARED);
  assertEquals(row, {
    question_id: "fb-1",
    model_a: "m0",
    model_b: "m1",
    winner: "model_b",
    judge: "lb-1",
    conversation_a: [{ role: "user", content: "P" }, { role: "assistant", content: " bad" }],
    conversation_b: [{ role: "user", content: "P" }, { role: "assistant", content: " good" }],
    turn: 1,
    anony: true,
    tstamp: 5,
  });
  const winners = (of: PromptedRecord) => EXPORTS.lmsys(of).map(({ winner }) => winner);
  assertEquals(winners(TIE), ["tie"]);
  assertEquals(winners(BAD), ["tie (bothbad)"]);
  assertEquals(winners(RANKED), ["model_b", "model_b", "tie"]);
  assertEquals(winners({ ...COMPARED, details: { presentedOrder: [1, 0] } }), ["model_a"]);
  assertEquals(winners(STEPS), []);
});

Deno.test("labelstudio has tasks with a pairwise result", () => {
  assertEquals(EXPORTS.labelstudio(COMPARED), [{
    data: { prompt: "P", answer1: " bad", answer2: " good" },
    meta: { feedback_id: "fb-1", labeler: "lb-1" },
    annotations: [{
      result: [{
        id: "fb-1-1-0",
        from_name: "comparison",
        to_name: "answer1,answer2",
        type: "pairwise",
        value: { selected: "right" },
      }],
    }],
  }]);
});

Deno.test("ranking has all candidates and their ranks", () => {
  const row = { prompt: "P", labeler: "lb-1", confidence: null, ...GROUP };
  assertEquals(EXPORTS.ranking(RANKED), [
    { ...row, completions: ["c", "a", "b"], ranks: [1, 2, 2], models: [null, null, null] },
  ]);
  assertEquals(EXPORTS.ranking(COMPARED), [{
    ...row,
    completions: [" good", " bad"],
    ranks: [1, 2],
    models: ["m1", "m0"],
    confidence: 7,
  }]);
  assertEquals(EXPORTS.ranking(TIE)[0]!.ranks, [1, 1]);
  assertEquals(EXPORTS.ranking(STEPS), []);
});

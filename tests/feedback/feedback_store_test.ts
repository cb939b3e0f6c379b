import { assert, assertEquals, assertRejects } from "@std/assert";
import { digestOf } from "../../src/feedback/canonical.ts";
import type { NewFeedback } from "../../src/feedback/feedback_record.ts";
import { FeedbackConflict } from "../../src/feedback/feedback_store.ts";
import { comparison, completion, LABELERS, memoryFeedback } from "../support/feedback.ts";

Deno.test("FeedbackStore gives back what was saved", async () => {
  using opened = memoryFeedback();
  const { store } = opened.feedback;
  const item = comparison("fb-1", {
    prompt: "a\0é",
    promptIds: [1, 70_000],
    confidence: 7,
    candidates: [{
      text: "x\0🙂",
      completionId: "cmpl-1",
      model: "tiny",
      sampling: { seed: 1 },
      weightsHash: "ab",
      tokenIds: [1, 2],
      logProbabilities: [-0.5, -1],
      finishReason: "stop",
    }, { text: "" }],
    details: { criteria: { helpful: 5 }, presentedOrder: [1, 0], tags: ["t\0"] },
  });
  const receipt = await store.save(item);
  assertEquals(receipt, {
    id: "fb-1",
    status: "stored",
    pairs: 1,
    datasetVersion: 1,
    split: "train",
  });
  const { keyHash: _, bodyHash: __, ...kept } = item;
  const found = store.find("fb-1")!;
  assertEquals(JSON.parse(JSON.stringify(found)), {
    ...JSON.parse(JSON.stringify(kept)),
    seq: 1,
    pairs: 1,
    datasetVersion: 1,
  });
  assertEquals(store.find("fb-2"), undefined);
});

Deno.test("the same key is stored once, also when both wait for one commit", async () => {
  using opened = memoryFeedback();
  const { store } = opened.feedback;
  const keyHash = digestOf("one key");
  const bodyHash = digestOf("one body");
  const send = (id: string) => store.save(comparison(id, { keyHash, bodyHash }));
  const [first, second] = await Promise.all([send("a"), send("b")]);
  assertEquals([first!.status, second!.status], ["stored", "duplicate"]);
  assertEquals(second, { ...first!, status: "duplicate" });
  assertEquals((await send("c")).id, "a");
  const error = await assertRejects(
    () => store.save(comparison("d", { keyHash })),
    FeedbackConflict,
    "Idempotency-Key",
  );
  assertEquals(error.kind, "key");
  assertEquals([store.find("b"), store.find("d"), store.datasetVersion], [
    undefined,
    undefined,
    1,
  ]);
});

Deno.test("a record replaces one of its labeler and prompt, once", async () => {
  using opened = memoryFeedback();
  const { store } = opened.feedback;
  await store.save(comparison("a"));
  const cases: [kind: string, more: Partial<NewFeedback>][] = [
    ["unknown", { supersedes: "none" }],
    ["labeler", { supersedes: "a", labeler: { hash: LABELERS.labeler("bob"), kind: "human" } }],
    ["prompt", { supersedes: "a", promptHash: LABELERS.prompt("other") }],
  ];
  for (const [kind, more] of cases) {
    const error = await assertRejects(
      () => store.save(comparison(`to ${kind}`, more)),
      FeedbackConflict,
    );
    assertEquals(error.kind, kind);
  }
  await store.save(comparison("b", { supersedes: "a" }));
  assertEquals(store.find("a")!.supersededBy, "b");
  assertEquals(store.list({}, { limit: 9 }).map(({ id }) => id), ["b"]);
  assertEquals(store.list({ withSuperseded: true }, { limit: 9 }).map(({ id }) => id), ["a", "b"]);
  const again = await assertRejects(
    () => store.save(comparison("c", { supersedes: "a" })),
    FeedbackConflict,
  );
  assertEquals(again.kind, "superseded");
  await store.save(comparison("d", { supersedes: "b" }));
  assertEquals(store.erase("d"), ["d", "b", "a"]);
  assertEquals(store.list({ withSuperseded: true }, { limit: 9 }), []);
});

Deno.test("what filters leave is what they say", async () => {
  using opened = memoryFeedback();
  const { store } = opened.feedback;
  const bob = { hash: LABELERS.labeler("bob"), kind: "human" } as const;
  await store.save(comparison("old", { created: 5, confidence: 3 }));
  await store.save(comparison("bob", { created: 20, labeler: bob, split: "valid" }));
  await store.save(comparison("sure", {
    created: 30,
    confidence: 8,
    candidates: [{ text: "a", model: "m" }, { text: "b", completionId: "c1" }],
    judgement: { type: "rating", value: true },
    promptHash: "p",
  }));
  const ids = (filter: Parameters<typeof store.list>[0]) =>
    store.list(filter, { limit: 9 }).map(({ id }) => id);
  assertEquals(ids({}), ["old", "bob", "sure"]);
  assertEquals(ids({ since: 20 }), ["bob", "sure"]);
  assertEquals(ids({ labeler: bob.hash }), ["bob"]);
  assertEquals(ids({ split: "valid" }), ["bob"]);
  assertEquals(ids({ minConfidence: 3 }), ["old", "sure"]);
  assertEquals(ids({ minConfidence: 4 }), ["sure"]);
  assertEquals(ids({ model: "m" }), ["sure"]);
  assertEquals(ids({ completionId: "c1" }), ["sure"]);
  assertEquals(ids({ type: "rating" }), ["sure"]);
  assertEquals(ids({ promptHash: "p" }), ["sure"]);
  assertEquals(ids({ since: 20, split: "train" }), ["sure"]);
  assertEquals(store.list({}, { limit: 2, newestFirst: true }).map(({ id }) => id), [
    "sure",
    "bob",
  ]);
  assertEquals(store.countSince(bob.hash, 20), 1);
  assertEquals(store.countSince(bob.hash, 21), 0);
  assertEquals(store.eraseAll({ labeler: bob.hash }), 1);
  assertEquals(ids({}), ["old", "sure"]);
});

Deno.test("records() reads all, whatever is stored meanwhile", async () => {
  using opened = memoryFeedback();
  const { store } = opened.feedback;
  await Promise.all(Array.from({ length: 250 }, (_, i) => store.save(comparison(`f${i}`))));
  const ids: string[] = [];
  for await (const { id } of store.records()) {
    if (ids.push(id) === 150) await store.save(comparison("late"));
  }
  assertEquals(ids.length, 251);
  assertEquals(new Set(ids).size, 251);
});

Deno.test("erasing a completion takes its feedback with it, expiry does not", async () => {
  using opened = memoryFeedback();
  const { store, completions } = opened.feedback;
  await completions.save(completion("c1"));
  await completions.save(completion("c2"));
  for (const id of ["c1", "c2"]) {
    await store.save(comparison(`on ${id}`, {
      candidates: [{ text: "a", completionId: id }, { text: "b" }],
    }));
  }
  const before = store.datasetVersion;
  assert(completions.erase("c1"));
  assertEquals([store.find("on c1"), completions.isExpired("c1")], [undefined, false]);
  assertEquals(store.datasetVersion, before + 1);
  completions.expire(1e12);
  assertEquals([completions.find("c2"), completions.isExpired("c2")], [undefined, true]);
  assertEquals(store.find("on c2")!.candidates[0]!.text, "a");
});

Deno.test("the dataset's version grows with each change, and no number comes twice", async () => {
  using opened = memoryFeedback();
  const { store } = opened.feedback;
  assertEquals((await store.save(comparison("a"))).datasetVersion, 1);
  store.erase("a");
  assertEquals((await store.save(comparison("b"))).datasetVersion, 3);
  assertEquals(store.find("b")!.seq, 2);
  assertEquals(store.erase("a"), []);
  assertEquals(store.datasetVersion, 3);
});

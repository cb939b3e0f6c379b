import { assert, assertEquals, assertRejects } from "@std/assert";
import { type CompletionRecord, CompletionStore } from "../../src/feedback/completion_store.ts";
import { openDatabase } from "../../src/feedback/database.ts";

function record(id: string, more: Partial<CompletionRecord> = {}): CompletionRecord {
  return {
    id,
    kind: "completion",
    created: 1_000,
    model: "small",
    weightsHash: "ab".repeat(32),
    promptIds: [1, 2, 70_000],
    prompt: undefined,
    text: "one two",
    tokenIds: [5, 6],
    logProbabilities: [-0.5, -2],
    sampling: { temperature: 0.5, seed: 7 },
    maxTokens: 16,
    finishReason: "stop",
    ...more,
  };
}

function memory(): { store: CompletionStore; [Symbol.dispose](): void } {
  const database = openDatabase(":memory:");
  const store = new CompletionStore(database);
  return {
    store,
    [Symbol.dispose]() {
      store.close();
      database.close();
    },
  };
}

Deno.test("CompletionStore gives back what was saved", async () => {
  using opened = memory();
  const full = record("cmpl-1", { prompt: "a\0é", text: "🙂", kind: "chat" });
  await opened.store.save(full);
  assertEquals(opened.store.find("cmpl-1"), full);
  assertEquals(opened.store.find("cmpl-2"), undefined);
  const bare = record("cmpl-2", { text: "", tokenIds: [], logProbabilities: [] });
  await opened.store.save(bare);
  assertEquals(opened.store.find("cmpl-2"), bare);
});

Deno.test("CompletionStore saves what comes together, but for the one at fault", async () => {
  using opened = memory();
  const ids = ["a", "b", "a", "c"];
  const results = await Promise.allSettled(ids.map((id) => opened.store.save(record(id))));
  assertEquals(results.map(({ status }) => status), [
    "fulfilled",
    "fulfilled",
    "rejected",
    "fulfilled",
  ]);
  for (const id of ["a", "b", "c"]) assert(opened.store.find(id), id);
});

Deno.test("CompletionStore.erase() takes one away", async () => {
  using opened = memory();
  await opened.store.save(record("a"));
  const before = opened.store.totalBytes;
  await opened.store.save(record("b"));
  assert(opened.store.erase("b"));
  assert(!opened.store.erase("b"));
  assertEquals(opened.store.find("b"), undefined);
  assertEquals(opened.store.totalBytes, before);
  await opened.store.save(record("b"));
});

Deno.test("CompletionStore.expire() goes by age", async () => {
  using opened = memory();
  const { store } = opened;
  for (const [i, id] of ["old", "older", "young"].entries()) {
    await store.save(record(id, { created: [2_000, 1_000, 9_000][i]! }));
  }
  assertEquals(store.expire(10_000, { maxAgeSeconds: 8_000 }), 1);
  assertEquals(["old", "older", "young"].map((id) => store.find(id)?.id), [
    "old",
    undefined,
    "young",
  ]);
});

Deno.test("CompletionStore.expire() goes by size, the oldest first", async () => {
  using opened = memory();
  const { store } = opened;
  for (let i = 0; i < 5; i++) await store.save(record(`r${i}`, { created: i }));
  const one = store.totalBytes / 5;
  assertEquals(store.expire(5, { maxBytes: 2.5 * one }), 3);
  assertEquals([0, 1, 2, 3, 4].map((i) => store.find(`r${i}`) !== undefined), [
    false,
    false,
    false,
    true,
    true,
  ]);
  assertEquals(store.totalBytes, 2 * one);
});

Deno.test("CompletionStore.expire() erases a batch at a time", async () => {
  using opened = memory();
  const { store } = opened;
  await Promise.all(Array.from({ length: 450 }, (_, i) => store.save(record(`r${i}`))));
  const counts: number[] = [];
  do counts.push(store.expire(1e12)); while (counts.at(-1)! > 0);
  assertEquals(counts, [200, 200, 50, 0]);
  assertEquals(store.totalBytes, 0);
});

Deno.test("CompletionStore takes nothing once closed", async () => {
  using opened = memory();
  const last = opened.store.save(record("a"));
  opened.store.close();
  await last;
  await assertRejects(() => opened.store.save(record("b")), Error, "an open store");
});

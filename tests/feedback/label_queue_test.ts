import { assert, assertEquals } from "@std/assert";
import { CompletionStore } from "../../src/feedback/completion_store.ts";
import { openDatabase } from "../../src/feedback/database.ts";
import { FeedbackStore } from "../../src/feedback/feedback_store.ts";
import {
  LabelQueue,
  type LabelQueueOptions,
  type QueuedPrompt,
} from "../../src/feedback/label_queue.ts";
import { comparison, completion } from "../support/feedback.ts";

/** Scores are the numbers that the answers end with. */
function scorer(calls: QueuedPrompt[][] = [], version = "rm@1") {
  return {
    version: () => version,
    score(prompts: readonly QueuedPrompt[]) {
      calls.push([...prompts]);
      const scores = prompts.map(({ answers }) =>
        answers.map(({ text }) => Number(/-?\d+$/.exec(text)![0]))
      );
      return Promise.resolve({ version, scores });
    },
  };
}

class Queue implements Disposable {
  nowMs = 0;
  readonly #database = openDatabase(":memory:");
  readonly completions = new CompletionStore(this.#database);
  readonly store = new FeedbackStore(this.#database);
  readonly queue: LabelQueue;
  constructor(options: LabelQueueOptions = {}) {
    this.queue = new LabelQueue(this.#database, { nowMs: () => this.nowMs, ...options });
  }
  async answer(prompt: string, ...texts: string[]): Promise<void> {
    const promptIds = [...prompt].map((char) => char.charCodeAt(0));
    await Promise.all(
      texts.map((text, i) =>
        this.completions.save(completion(`${prompt}${i}`, { prompt, promptIds, text }))
      ),
    );
  }
  async judge(labeler: string, id: string): Promise<void> {
    await this.store.save(comparison(`${labeler} ${id}`, {
      labeler: { hash: labeler, kind: "human" },
      candidates: [{ text: "", completionId: id }, { text: "" }],
    }));
  }
  async prompts(labeler: string, limit = 9, candidates = 2): Promise<string[]> {
    return (await this.queue.next({ labeler, limit, candidates })).tasks.map((task) => task.prompt);
  }
  [Symbol.dispose](): void {
    this.store.close();
    this.completions.close();
    this.#database.close();
  }
}

Deno.test("the queue begins where the reward model is least sure", async () => {
  using queue = new Queue({ scorer: scorer() });
  await queue.answer("far", "a 0", "b 9");
  await queue.answer("near", "a 1", "b 1");
  await queue.answer("middle", "a 1", "b 2");
  await queue.answer("alone", "a 1", " a 1 "); // one text
  const { tasks, scorer: version, waiting } = await queue.queue.next({
    labeler: "ann",
    candidates: 2,
    limit: 9,
  });
  assertEquals(tasks.map(({ prompt }) => prompt), ["near", "middle", "far"]);
  assertEquals([version, waiting], ["rm@1", 3]);
  assertEquals(tasks[0]!.uncertainty, 1);
  assert(tasks[1]!.uncertainty! > 0.8 && tasks[1]!.uncertainty! < 0.9);
  assert(tasks[2]!.uncertainty! < 0.01);
  assertEquals([...tasks[0]!.presentedOrder].sort(), [0, 1]);
});

Deno.test("of many answers those are shown whose order is least sure", async () => {
  using queue = new Queue({ scorer: scorer() });
  await queue.answer("p", "a 0", "b 10", "c 1", "d 11", "e 20", "f 2", "g 3");
  const { tasks } = await queue.queue.next({ labeler: "ann", candidates: 4, limit: 1 });
  assertEquals(tasks[0]!.candidates.map(({ text }) => text).sort(), ["a 0", "c 1", "f 2", "g 3"]);
});

Deno.test("without a reward model the fewest judgements come first", async () => {
  using queue = new Queue({ labelersPerPrompt: 3 });
  await queue.answer("twice", "a", "b");
  await queue.answer("never", "a", "b");
  await queue.answer("once", "a", "b");
  await queue.judge("bob", "twice0");
  await queue.judge("eve", "twice1");
  await queue.judge("bob", "once1");
  const { tasks, scorer } = await queue.queue.next({ labeler: "ann", candidates: 2, limit: 9 });
  assertEquals(
    tasks.map(({ prompt, judgements, uncertainty }) => [prompt, judgements, uncertainty]),
    [
      ["never", 0, undefined],
      ["once", 1, undefined],
      ["twice", 2, undefined],
    ],
  );
  assertEquals(scorer, undefined);
});

Deno.test("nobody gets what they judged, or what enough others did or are at", async () => {
  using queue = new Queue({ labelersPerPrompt: 2 });
  await queue.answer("p", "a", "b");
  await queue.answer("q", "a", "b");
  await queue.judge("ann", "p0");
  assertEquals(await queue.prompts("ann"), ["q"]);
  assertEquals((await queue.prompts("bob")).sort(), ["p", "q"]);
  assertEquals(await queue.prompts("carl"), [], "ann and bob have both");
  assertEquals(await queue.prompts("bob"), [], "he has just got them");
  queue.nowMs += 120_000;
  assertEquals(await queue.prompts("ann"), ["q"]);
  assertEquals((await queue.prompts("carl")).sort(), ["p", "q"]);
});

Deno.test("prompts whose texts are not kept, and withheld texts, are not shown", async () => {
  using queue = new Queue();
  for (const i of [0, 1]) {
    await queue.completions.save(completion(`n${i}`, { prompt: undefined, text: `${i}` }));
    await queue.completions.save(completion(`w${i}`, { finishReason: "content_filter", text: "" }));
  }
  assertEquals(await queue.prompts("ann"), []);
});

Deno.test("what was scored is not scored again, until the model is another", async () => {
  const calls: QueuedPrompt[][] = [];
  const model = scorer(calls);
  using queue = new Queue({ scorer: model, labelersPerPrompt: 9 });
  await queue.answer("p", "a 1", "b 2");
  await queue.prompts("ann");
  await queue.prompts("bob");
  assertEquals(calls.length, 1);
  await queue.answer("q", "a 1", "b 2");
  assertEquals((await queue.prompts("carl")).length, 2);
  assertEquals(calls.map((prompts) => prompts.map(({ prompt }) => prompt)), [["p"], ["q"]]);
  const other = scorer(calls, "rm@2");
  model.version = other.version;
  model.score = other.score;
  assertEquals((await queue.prompts("dora")).length, 2);
  assertEquals(calls.at(-1)!.length, 2);
});

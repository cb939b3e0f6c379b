import { assert, assertEquals } from "@std/assert";
import { rewardQueueScorer } from "../../routes/feedback/queue_scorer.ts";
import type { QueuedPrompt } from "../../src/feedback/label_queue.ts";
import { servedModel } from "../support/fake_runtime.ts";
import { FakeServe, ids } from "../support/serve.ts";

const JUDGE = servedModel({ id: "rm", run: "rm", step: 3, reward: { bias: 0, maxTokens: 40 } });

function queued(prompt: string, ...texts: string[]): QueuedPrompt {
  const answers = texts.map((text, i) => ({
    completionId: `c${i}`,
    text,
    tokenIds: ids(text),
    model: "tiny@7",
  }));
  return { prompt, promptIds: ids(prompt), answers };
}

Deno.test("the queue's scorer asks the reward model that is current, all prompts at once", async () => {
  const serve = new FakeServe({ models: [servedModel(), JUDGE] });
  const scorer = rewardQueueScorer({ ...serve.deps, shutdown: serve.deps.shutdown });
  assertEquals(scorer.version(), "rm@3");
  const { version, scores } = await scorer.score([
    queued("hello", "world", "other world"),
    queued("there", "was", "x".repeat(60)), // longer than the model reads
  ]);
  const dialogue = (prompt: string, text: string) =>
    ids(`<|user|>${prompt}<|end|><|assistant|>${text}<|end|>`);
  const rows = [
    dialogue("hello", "world"),
    dialogue("hello", "other world"),
    dialogue("there", "was"),
  ];
  assertEquals(serve.runtime.scored, [{ model: "rm@3", dialogues: rows }]);
  assertEquals([version, scores[0]], ["rm@3", [rows[0]!.length, rows[1]!.length]]);
  assertEquals(scores[1]![0], rows[2]!.length);
  assert(scores[1]![1]! < scores[1]![0]! - 10, "what cannot be read is not unsure");
  assertEquals(serve.runtime.held, 0);
});

Deno.test("without a reward model there is no scorer", () => {
  const serve = new FakeServe();
  assertEquals(rewardQueueScorer(serve.deps).version(), undefined);
});

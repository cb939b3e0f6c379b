import { assertEquals, assertThrows } from "@std/assert";
import { ClassifierModeration } from "../../routes/text/moderation.ts";
import { CannotError } from "../../src/config/cannot.ts";
import { TASK_TOKENS } from "../../src/data/task_tokens.ts";
import type { ServedHead } from "../../src/runtime/runtime.ts";
import { servedModel } from "../support/fake_runtime.ts";
import { FakeServe, type FakeServeOptions, TOKENIZER } from "../support/serve.ts";

const GROWN = TOKENIZER.withSpecialTokens(TASK_TOKENS);
const HEAD: ServedHead = { task: "classification", labels: ["fine", "rude"], maxTokens: 20 };
const JUDGE = servedModel({ id: "judge", run: "judge", head: HEAD });
const RUDE = TOKENIZER.encode(" other")[0]!;

/** Texts with the word "other" are rude, with 0.7. */
const shares = ([copy]: readonly Uint32Array[]) => copy!.includes(RUDE) ? [0.3, 0.7] : [1, 0];

/** A server whose texts are judged. */
function moderated(
  script: NonNullable<FakeServeOptions["script"]>,
  options: FakeServeOptions & { threshold?: number } = {},
): FakeServe {
  const { threshold = 0.5, ...rest } = options;
  const all = {
    models: [servedModel(), JUDGE],
    tokenizer: GROWN,
    shares,
    script,
    ...rest,
  };
  const { runtime, deps } = new FakeServe(all);
  const settings = { run: "judge", labels: ["rude"], threshold };
  const moderation = new ClassifierModeration({ ...deps, runtime }, settings);
  const serve = new FakeServe({ ...all, moderation });
  judges.set(serve, runtime);
  return serve;
}

/** The runtime that judges; another than the one that writes, so that each keeps its own calls. */
const judges = new WeakMap<FakeServe, FakeServe["runtime"]>();

const GOOD = TOKENIZER.encode("hello world");
const BAD = TOKENIZER.encode("hello other world");
/** The second choice of every prompt is rude. */
const script = (_: unknown, choice: number) => choice === 1 ? BAD : GOOD;

Deno.test("a rude text is withheld, with its logprobs, and others are not", async () => {
  const serve = moderated(script);
  const { choices, usage } = await serve.ok("/v1/completions", {
    ...{ prompt: "a", n: 2, max_tokens: 20, logprobs: 1 },
  });
  // deno-lint-ignore no-explicit-any
  assertEquals(choices.map((choice: any) => [choice.text, choice.finish_reason]), [
    ...[["hello world", "length"], ["", "content_filter"]],
  ]);
  assertEquals(choices[0].logprobs.tokens.length, GOOD.length);
  assertEquals(choices[1].logprobs.tokens, []);
  assertEquals(usage.completion_tokens, GOOD.length + BAD.length); // they were written
  assertEquals(serve.metered.filter((line) => line.startsWith("end")).sort(), [
    ...["end 0 length", "end 1 content_filter"],
  ]);
  // Feedback can refer to it; what was withheld is kept as ids only.
  assertEquals(serve.records.map(({ text, finishReason }) => [text, finishReason]), [
    ...[["hello world", "length"], ["", "content_filter"]],
  ]);
});

Deno.test("a chat's answers are judged too", async () => {
  const serve = moderated(script);
  const { choices } = await serve.ok("/v1/chat/completions", {
    messages: [{ role: "user", content: "hi" }],
    n: 2,
  });
  // deno-lint-ignore no-explicit-any
  assertEquals(choices.map((choice: any) => [choice.message.content, choice.finish_reason]), [
    ...[["hello world", "length"], ["", "content_filter"]],
  ]);
});

Deno.test("a stream holds each text until it is judged: it is sent whole or not at all", async () => {
  const serve = moderated(script);
  const events = await serve.stream("/v1/completions", { prompt: "a", n: 2, max_tokens: 20 });
  // deno-lint-ignore no-explicit-any
  assertEquals(events.map(({ choices: [choice] }: any) => [choice.text, choice.finish_reason]), [
    ...[["hello world", "length"], ["", "content_filter"]],
  ]);
  const chat = await serve.stream("/v1/chat/completions", {
    messages: [{ role: "user", content: "hi" }],
    n: 2,
  });
  const contents = chat.flatMap(({ choices: [{ index, delta }] }) =>
    delta.content ? [[index, delta.content]] : []
  );
  assertEquals(contents, [[0, "hello world"]]);
});

Deno.test("the threshold decides, and an empty text is not judged", async () => {
  const above = moderated(script, { threshold: 0.71 });
  const { choices } = await above.ok("/v1/completions", { prompt: "a", n: 2, max_tokens: 20 });
  assertEquals(choices[1].finish_reason, "length");
  const empty = moderated(() => []);
  await empty.ok("/v1/completions", { prompt: "a" });
  assertEquals(judges.get(empty)!.classified, []);
});

Deno.test("a text that is longer than the classifier reads is judged to its end", async () => {
  const serve = moderated(() => [...TOKENIZER.encode("hello there ".repeat(9)), RUDE]);
  const { choices } = await serve.ok("/v1/completions", { prompt: "a", max_tokens: 60 });
  assertEquals(choices[0].finish_reason, "content_filter");
  const { model, examples } = judges.get(serve)!.classified[0]!;
  assertEquals(model, "judge");
  assertEquals(examples.length > 1 && examples.every(([copy]) => copy!.length <= 20), true);
});

Deno.test("a text that cannot be judged is not shown", async () => {
  const broken = () => Promise.reject(new Error("no"));
  const error = await moderated("hello", { shares: broken }).fails("/v1/completions", {
    prompt: "a",
  });
  assertEquals(error.status, 500);
});

Deno.test("settings that cannot judge are refused", () => {
  const refuse = (models: FakeServeOptions["models"], labels: string[], message: string) => {
    const { deps } = new FakeServe({ models: models! });
    const options = { run: "judge", labels, threshold: 0.5 };
    assertThrows(() => new ClassifierModeration(deps, options), CannotError, message);
  };
  refuse([servedModel()], ["rude"], "want one of tiny: it is not served");
  refuse([servedModel({ id: "judge" })], ["rude"], "it has no head");
  const pair = servedModel({ id: "judge", head: { ...HEAD, task: "entailment" } });
  refuse([pair], ["rude"], "its task is entailment");
  refuse([JUDGE], ["rude", "loud"], 'want labels of fine, rude: got "loud"');
});

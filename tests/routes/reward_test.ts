import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { CharacterTokenizer } from "../../src/tokenizer/characters.ts";
import type { ServedModel } from "../../src/runtime/runtime.ts";
import { servedModel } from "../support/fake_runtime.ts";
import { END, FakeServe, type FakeServeOptions, ids, TOKENIZER } from "../support/serve.ts";

const PATH = "/v1/reward";
const JUDGE = servedModel({ id: "rm", run: "rm", step: 3, reward: { bias: 0.5, maxTokens: 40 } });

function serving(options: FakeServeOptions = {}): FakeServe {
  return new FakeServe({ models: [servedModel(), JUDGE], ...options });
}

/** A dialogue of one question and its answer, as text of the reserved tokens. */
function dialogue(prompt: string, answer: string): number[] {
  return ids(`<|user|>${prompt}<|end|><|assistant|>${answer}<|end|>`);
}

Deno.test("responses get their rewards, in their order, of one version that is let go", async () => {
  const serve = serving({ rewards: (dialogue) => dialogue.length / 4 });
  const answer = await serve.ok(PATH, {
    prompt: " hello ",
    completions: ["world ", "other world"],
  });
  const rows = ["world", "other world"].map((text) => dialogue("hello", text));
  const tokens = rows.flat().length;
  assertEquals(answer, {
    id: "reward-1",
    object: "reward.result",
    created: 1_700_000_000,
    model: "rm",
    version: "rm@3",
    system_fingerprint: "fp_0123456789",
    results: rows.map(({ length }, index) => ({ index, reward: length / 4, tokens: length })),
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  });
  assertEquals(serve.runtime.scored, [{ model: "rm@3", dialogues: rows }]);
  assertEquals(serve.admitted, [{ choices: 2, tokens }]);
  assertEquals([serve.released, serve.runtime.held], [1, 0]);
});

Deno.test("a chat is scored turn by turn", async () => {
  const serve = serving();
  const messages = [
    { role: "system", content: "there" },
    { role: "user", content: "hello" },
    { role: "assistant", content: "world" },
    { role: "user", content: "other" },
  ];
  await serve.ok(PATH, { messages, completions: ["was"] });
  const before = ids("<|user|>there\n\nhello<|end|><|assistant|>world<|end|>");
  assertEquals(serve.runtime.scored[0]!.dialogues, [[...before, ...dialogue("other", "was")]]);
});

Deno.test("kept completions are scored by their ids, prompt and all", async () => {
  const serve = serving({ script: () => [...ids(" world"), END] });
  const { id } = await serve.ok("/v1/completions", { prompt: "hello" });
  const chat = await serve.ok("/v1/chat/completions", {
    messages: [{ role: "user", content: "there" }],
  });
  const { results } = await serve.ok(PATH, { completion_ids: [id, chat.id] });
  // deno-lint-ignore no-explicit-any
  assertEquals(results.map((one: any) => one.completion_id), [id, chat.id]);
  assertEquals(serve.runtime.scored[0]!.dialogues, [
    dialogue("hello", "world"),
    dialogue("there", "world"),
  ]);
});

Deno.test("what cannot be scored says why, and holds nothing", async () => {
  const long = "hello world ".repeat(60);
  const faults: [body: Record<string, unknown>, status: number, code: string, param: string][] = [
    [{ prompt: "a" }, 400, "missing_required_parameter", "completions"],
    [{ completions: ["a"] }, 400, "invalid_value", "prompt"],
    [
      { prompt: "a", messages: [{ role: "user", content: "a" }], completions: ["a"] },
      ...[400, "invalid_value", "prompt"] as const,
    ],
    [{ prompt: "a", completion_ids: ["x"] }, 400, "invalid_value", "prompt"],
    [{ completion_ids: ["x"] }, 404, "completion_not_found", "completion_ids.0"],
    [{ prompt: "a", completions: ["b", long] }, 400, "context_length_exceeded", "completions.1"],
    [{ prompt: "a", completions: [] }, 400, "invalid_value", "completions"],
    [{ prompt: "a", completions: [7] }, 400, "invalid_value", "completions.0"],
    [{ model: "tiny", prompt: "a", completions: ["b"] }, 400, "not_a_reward_model", "model"],
    [{ model: "x", prompt: "a", completions: ["b"] }, 404, "model_not_found", "model"],
    [
      { messages: [{ role: "assistant", content: "a" }], completions: ["b"] },
      ...[400, "invalid_value", "messages"] as const,
    ],
  ];
  for (const [body, status, code, param] of faults) {
    const serve = serving();
    const error = await serve.fails(PATH, body);
    assertEquals([error.status, error.code, error.param], [status, code, param], error.message);
    assertEquals([serve.runtime.held, serve.admitted.length], [0, serve.released]);
  }
  const none = await new FakeServe().fails(PATH, { prompt: "a", completions: ["b"] });
  assertEquals([none.status, none.code], [400, "no_reward_model"]);
  assertStringIncludes(none.message, "--reward RUN");
  const forgetful = await serving({ store: undefined }).fails(PATH, { completion_ids: ["a"] });
  assertEquals([forgetful.status, forgetful.code], [400, "no_store"]);
});

Deno.test("a reward model with another tokenizer reads the text, or says what it lacks", async () => {
  const letters = CharacterTokenizer.fromText(["hello world"])
    .withSpecialTokens(["<|user|>", "<|assistant|>", "<|end|>"]);
  const serve = serving({ tokenizer: letters });
  const { results } = await serve.ok(PATH, { prompt: "hello", completions: ["world"] });
  assertEquals(results[0].tokens, 5 + 5 + 4);
  const error = await serve.fails(PATH, { prompt: "hello", completions: ["world", "ß"] });
  assertEquals([error.status, error.param], [400, "completions.1"]);
});

Deno.test("the server's reward model goes before the first one that is served", async () => {
  const other: ServedModel = { ...JUDGE, id: "rm2", run: "rm2", step: 9 };
  const models = [servedModel(), JUDGE, other];
  const body = { prompt: "hello", completions: ["world"] };
  assertEquals((await serving({ models }).ok(PATH, body)).version, "rm@3");
  const named = serving({ models, rewardRun: "rm2" });
  assertEquals((await named.ok(PATH, body)).version, "rm2@9");
  assertEquals((await named.ok(PATH, { ...body, model: "rm" })).version, "rm@3");
});

/** Each choice another word. */
const WORDS = ["hello", "other world", "world", "there was"];
const script: FakeServeOptions["script"] = (_, choice) => ids(WORDS[choice]!);

Deno.test("best_of by reward keeps the highest rewards; without it probability decides", async () => {
  const byReward = (dialogue: readonly number[]) => {
    return TOKENIZER.decode([...dialogue]).includes("there was") ? 2 : -dialogue.length;
  };
  const serve = serving({ script, rewards: byReward });
  const body = { prompt: "hello", n: 2, best_of: 4 };
  const { choices, reward_model } = await serve.ok("/v1/completions", {
    ...body,
    best_of_by: "reward",
  });
  assertEquals(reward_model, "rm@3");
  // deno-lint-ignore no-explicit-any
  const texts = choices.map((choice: any) => [choice.index, choice.text, choice.reward]);
  const shortest = WORDS.toSorted((a, b) => ids(a).length - ids(b).length)[0]!;
  assertEquals(texts, [
    [0, "there was", 2],
    [1, shortest, -dialogue("hello", shortest).length],
  ]);
  assertEquals(serve.runtime.held, 0);
  const plain = await serve.ok("/v1/completions", body);
  assertEquals(["reward" in plain.choices[0], "reward_model" in plain], [false, false]);
  assertEquals(serve.runtime.scored.length, 1);
});

Deno.test("a text that the reward model cannot read comes last, with no reward", async () => {
  const tight = { ...JUDGE, reward: { bias: 0, maxTokens: dialogue("hello", "hello").length } };
  const serve = serving({ script, models: [servedModel(), tight] });
  const { choices } = await serve.ok("/v1/completions", {
    ...{ prompt: "hello", n: 4, best_of: 4, best_of_by: "reward" },
  });
  const rewards = choices.map(({ reward }: { reward: number | null }) => reward);
  assert(rewards[0] !== null && rewards.at(-1) === null, `${rewards}`);
  assertEquals(rewards.findIndex((reward: number | null) => reward === null) > 0, true);
});

Deno.test("rewards cannot stream, and want a reward model", async () => {
  const body = { prompt: "hello", best_of_by: "reward" };
  const streamed = await serving().fails("/v1/completions", { ...body, stream: true });
  assertEquals([streamed.status, streamed.param], [400, "best_of_by"]);
  const without = await new FakeServe().fails("/v1/completions", body);
  assertEquals([without.code, without.param], ["no_reward_model", "best_of_by"]);
  const cot = await new FakeServe().fails("/v1/cot", {
    ...{ question: "1?", self_consistency: { samples: 2, aggregate: "reward" } },
  });
  assertEquals([cot.code, cot.param], ["no_reward_model", "self_consistency.aggregate"]);
});

Deno.test("votes by reward: one path that is judged well outweighs two that are not", async () => {
  const paths = ["hello The answer is 7.", "world The answer is 7.", "there The answer is 4."];
  const serve = serving({
    script: (_, choice) => ids(paths[choice]!),
    rewards: (dialogue) => TOKENIZER.decode([...dialogue]).includes("there The") ? 3 : -3,
    models: [servedModel({ contextLength: 200 }), {
      ...JUDGE,
      reward: { bias: 0, maxTokens: 200 },
    }],
  });
  const exemplars = [{ question: "1?", rationale: "one.", answer: "1" }];
  const asked = { question: "2?", exemplars };
  const self_consistency = { samples: 3, aggregate: "reward" };
  const answer = await serve.ok("/v1/cot", { ...asked, self_consistency });
  assertEquals([answer.answer, answer.reward_model], ["4", "rm@3"]);
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  const total = sigmoid(3) + 2 * sigmoid(-3);
  assert(Math.abs(answer.votes[0].weight - sigmoid(3) / total) < 1e-12);
  assertEquals(answer.paths.map(({ reward }: { reward: number }) => reward), [-3, -3, 3]);
  assertEquals(serve.runtime.held, 0);
  const majority = await serve.ok("/v1/cot", { ...asked, self_consistency: { samples: 3 } });
  assertEquals([majority.answer, majority.paths[0].reward], ["7", null]);
});

Deno.test("a failed request lets its version go", async () => {
  const serve = serving({ rewards: () => Promise.reject(new Error("the device is lost")) });
  const error = await serve.fails(PATH, { prompt: "a", completions: ["b"] });
  assertEquals([error.status, serve.runtime.held, serve.released], [500, 0, 1]);
  const body = { prompt: "hello", best_of: 2, best_of_by: "reward" };
  const failed = await serve.fails("/v1/completions", body);
  assertEquals([failed.status, serve.runtime.held], [500, 0]);
});

Deno.test("a version is served by one call, and unknown ones are named", async () => {
  const kept = [servedModel({ id: "tiny@5", step: 5 }), servedModel({ id: "tiny@7" })];
  const serve = new FakeServe({ models: [servedModel(), ...kept, JUDGE] });
  const put = async (path: string, body: unknown) => {
    const response = await serve.post(path, body, { method: "PUT" });
    return [response.status, await response.json()];
  };
  const [status, model] = await put("/v1/models/tiny/current", { step: 5 });
  assertEquals([status, model.id], [200, "tiny"]);
  await put("/v1/models/rm/current", {});
  assertEquals(serve.runtime.swaps, [["tiny", 5], ["rm", undefined]]);
  const [missing, { error }] = await put("/v1/models/tiny/current", { step: 6 });
  assertEquals([missing, error.param], [404, "step"]);
  assertStringIncludes(error.message, "want one of 5, 7");
  const [unknown, body] = await put("/v1/models/nobody/current", {});
  assertEquals([unknown, body.error.code], [404, "model_not_found"]);
  const { data } = await (await serve.app.request("/v1/models")).json();
  assertEquals([data[3].meta.task, data[3].meta.reward_bias], ["reward", 0.5]);
});

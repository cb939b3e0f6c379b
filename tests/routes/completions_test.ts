import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ContentGuard } from "../../src/infer/guard.ts";
import { fakeLogProbability, servedModel } from "../support/fake_runtime.ts";
import { byteIds, END, FakeServe, ids, TOKENIZER } from "../support/serve.ts";

const PATH = "/v1/completions";

Deno.test("a completion has every key that OpenAI's object has", async () => {
  const serve = new FakeServe({ script: () => [...ids(" world"), END], cachedTokens: 1 });
  const prompt = ids("hello");
  assertEquals(await serve.ok(PATH, { model: "tiny", prompt: "hello" }), {
    id: "cmpl-1",
    object: "text_completion",
    created: 1_700_000_000,
    model: "tiny",
    system_fingerprint: "fp_0123456789",
    choices: [{
      index: 0,
      text: " world",
      logprobs: null,
      finish_reason: "stop",
      completion_id: "cmpl-1",
    }],
    usage: {
      prompt_tokens: prompt.length,
      completion_tokens: ids(" world").length + 1, // the end of text counts
      total_tokens: prompt.length + ids(" world").length + 1,
      prompt_tokens_details: { cached_tokens: 1 },
    },
  });
  assertEquals(serve.runtime.calls[0]!.request, {
    prompt,
    maxTokens: 16,
    choices: 1,
    sampling: {
      temperature: 1,
      topP: 1,
      topK: 0,
      minP: 0,
      presencePenalty: 0,
      frequencyPenalty: 0,
      repetitionPenalty: 1,
      noRepeatNgram: 0,
      logitBias: [],
      seed: 4711,
      choice: 0,
    },
    stopIds: [END],
    top: 0,
    scorePrompt: false,
  });
});

Deno.test("all forms of a prompt come to the engine as ids", async () => {
  const [a, b] = [ids("hello"), ids("other")];
  for (
    const [prompt, want] of [
      ["hello", [a]],
      [["hello", "other"], [a, b]],
      [a, [a]],
      [[a, b], [a, b]],
      [[a], [a]],
      ["", [[END]]],
      [["", "hello"], [[END], a]],
      [undefined, [[END]]],
      [null, [[END]]],
      ["<|endoftext|>hello", [[END, ...a]]],
    ] as const
  ) {
    const serve = new FakeServe({ script: "x" });
    const { choices, usage } = await serve.ok(PATH, { prompt });
    assertEquals(serve.runtime.calls.map(({ request }) => request.prompt), [...want]);
    assertEquals(choices.map(({ index }: { index: number }) => index), want.map((_, i) => i));
    assertEquals(usage.prompt_tokens, want.flat().length);
  }
});

Deno.test("n texts of each prompt: index, usage, ids, seeds", async () => {
  const script = (request: { prompt: readonly number[] }, choice: number) => {
    return ids(`${TOKENIZER.decode(request.prompt)}${choice}`);
  };
  for (const [seed, starts] of [[undefined, [0, 2]], [5, [0, 0]]] as const) {
    const serve = new FakeServe({ script });
    const body = { prompt: ["hello", "other"], n: 2, seed };
    const { choices, usage } = await serve.ok(PATH, body);
    assertEquals(
      choices.map((choice: Record<string, unknown>) => [choice.index, choice.text]),
      [[0, "hello0"], [1, "hello1"], [2, "other0"], [3, "other1"]],
    );
    assertEquals(
      choices.map((choice: Record<string, unknown>) => choice.completion_id),
      ["cmpl-1-0", "cmpl-1-1", "cmpl-1-2", "cmpl-1-3"],
    );
    // Each prompt once, the texts all.
    assertEquals(usage.prompt_tokens, ids("hello").length + ids("other").length);
    const written = choices.map(({ text }: { text: string }) => ids(text).length);
    assertEquals(usage.completion_tokens, written.reduce((a: number, b: number) => a + b));
    const { calls } = serve.runtime;
    assertEquals(calls.map(({ request }) => request.sampling!.choice), [...starts]);
    assertEquals(calls.map(({ request }) => request.sampling!.seed), [seed ?? 4711, seed ?? 4711]);
    assertEquals(
      serve.records.map((record) => record.sampling.choice),
      starts.flatMap((start) => [start, start + 1]),
    );
    assertEquals(serve.admitted, [{ choices: 4, tokens: usage.prompt_tokens + 4 * 16 }]);
    assertEquals(serve.released, 1);
  }
});

Deno.test("sampling parameters reach the engine", async () => {
  const serve = new FakeServe({ script: "x" });
  await serve.ok(PATH, {
    prompt: "hello",
    temperature: 0.5,
    top_p: 0.9,
    top_k: -1,
    min_p: 0.1,
    presence_penalty: -2,
    frequency_penalty: 2,
    repetition_penalty: 1.2,
    no_repeat_ngram_size: 3,
    logit_bias: { "17": -100, "5": 1.5 },
    max_tokens: 3,
    logprobs: 2,
  });
  const { request } = serve.runtime.calls[0]!;
  assertEquals([request.maxTokens, request.top], [3, 2]);
  const { logitBias, ...sampling } = request.sampling as Record<string, unknown>;
  assertEquals(new Map(logitBias as [number, number][]), new Map([[17, -100], [5, 1.5]]));
  assertEquals(sampling, {
    temperature: 0.5,
    topP: 0.9,
    topK: 0,
    minP: 0.1,
    presencePenalty: -2,
    frequencyPenalty: 2,
    repetitionPenalty: 1.2,
    noRepeatNgram: 3,
    seed: 4711,
    choice: 0,
  });
});

Deno.test("top_p 0 leaves the likeliest token only", async () => {
  const serve = new FakeServe({ script: "x" });
  await serve.ok(PATH, { prompt: "hello", top_p: 0 });
  const { topP } = serve.runtime.calls[0]!.request.sampling!;
  assert(topP! > 0 && topP! < 1e-5, `${topP}`);
  assertEquals(Math.fround(topP!), topP);
});

Deno.test("any 64-bit seed is folded into the engine's range, small ones stay", async () => {
  const seeds: number[] = [];
  const given = [0, 1234, 2 ** 53 - 1, -1, -2, -(2 ** 63), 2 ** 63, 2 ** 60, 2 ** 53];
  for (const seed of given) {
    const serve = new FakeServe({ script: "x" });
    await serve.ok(PATH, { prompt: "hello", seed });
    const folded = serve.runtime.calls[0]!.request.sampling!.seed!;
    assert(Number.isSafeInteger(folded) && folded >= 0, `${seed} became ${folded}`);
    assertEquals(serve.records[0]!.sampling.seed, folded);
    seeds.push(folded);
  }
  assertEquals(seeds.slice(0, 3), given.slice(0, 3));
  assertEquals(new Set(seeds).size, given.length - 1); // -2^63 and 2^63 have the same 64 bits
});

Deno.test("echo with logprobs: one slot for each token of prompt and text", async () => {
  const serve = new FakeServe({ script: () => [...ids(" there"), END] });
  const prompt = ids("hello wörld");
  const { choices: [choice] } = await serve.ok(PATH, {
    prompt: [prompt],
    echo: true,
    logprobs: 1,
    max_tokens: 8,
  });
  const written = [...ids(" there"), END];
  const all = [...prompt, ...written];
  const { tokens, token_logprobs, top_logprobs, text_offset } = choice.logprobs;
  assertEquals(choice.text, "hello wörld there");
  assertEquals(tokens.length, all.length);
  assertEquals(tokens.at(-1), "<|endoftext|>");
  assertEquals(token_logprobs, [null, ...all.slice(1).map(fakeLogProbability)]);
  assertEquals(top_logprobs[0], null);
  assertEquals(top_logprobs.length, all.length);
  assertEquals(text_offset.length, all.length);
  assertEquals(text_offset[0], 0);
  assertEquals(text_offset[prompt.length], [..."hello wörld"].length);
  for (const [i, id] of all.entries()) {
    if (i === 0) continue;
    // The greedy test of lm-evaluation-harness: equality of the very same numbers.
    const isGreedy = token_logprobs[i] === Math.max(...Object.values<number>(top_logprobs[i]));
    assertEquals(isGreedy, id % 16 === 0, `token ${i}`);
  }
});

Deno.test("text_offset counts code points, also where a character comes in parts", async () => {
  const parts = byteIds("🦕é");
  const serve = new FakeServe({ script: () => parts });
  const body = { prompt: "🦕🦕", logprobs: 0 };
  for (const echo of [false, true]) {
    const { choices: [{ text, logprobs }] } = await serve.ok(PATH, { ...body, echo });
    const base = echo ? 2 : 0;
    assertEquals(text, echo ? "🦕🦕🦕é" : "🦕é");
    assertEquals(
      logprobs.text_offset.slice(-parts.length),
      [0, 0, 0, 0, 1, 1].map((offset) => base + offset),
    );
    assertEquals(logprobs.tokens.at(-1), "\ufffd");
  }
});

Deno.test("top_logprobs keeps the likelier of two ids that look alike, or names ids", async () => {
  const [, second, third] = byteIds("🦕"); // continuation bytes: all U+FFFD
  const token = {
    id: third!,
    logProbability: -3,
    top: [{ id: second!, logProbability: -1 }, { id: 100, logProbability: -Infinity }],
  };
  const serve = new FakeServe({ script: () => [token] });
  const plain = await serve.ok(PATH, { prompt: "hello", logprobs: 2 });
  const named = TOKENIZER.decode([100]);
  assertEquals(plain.choices[0].logprobs.top_logprobs, [{ "\ufffd": -1, [named]: -9999 }]);
  assertEquals(plain.choices[0].logprobs.token_logprobs, [-3]);
  const asIds = await serve.ok(PATH, {
    prompt: "hello",
    logprobs: 2,
    return_tokens_as_token_ids: true,
  });
  assertEquals(asIds.choices[0].logprobs.tokens, [`token_id:${third}`]);
  assertEquals(asIds.choices[0].logprobs.top_logprobs, [{
    [`token_id:${second}`]: -1,
    "token_id:100": -9999,
    [`token_id:${third}`]: -3,
  }]);
});

Deno.test("max_tokens 0 with echo only scores the prompt", async () => {
  const serve = new FakeServe();
  const { choices, usage } = await serve.ok(PATH, {
    prompt: "hello world",
    echo: true,
    logprobs: 0,
    max_tokens: 0,
  });
  const prompt = ids("hello world");
  assertEquals(choices[0].text, "hello world");
  assertEquals(choices[0].finish_reason, "length");
  assertEquals(choices[0].logprobs.tokens.join(""), "hello world");
  assertEquals(choices[0].logprobs.token_logprobs.length, prompt.length);
  assertEquals(usage.completion_tokens, 0);
  const { request } = serve.runtime.calls[0]!;
  assertEquals([request.maxTokens, request.scorePrompt], [0, true]);
});

Deno.test("echo without logprobs asks for no scores", async () => {
  const serve = new FakeServe({ script: " there" });
  const { choices } = await serve.ok(PATH, { prompt: "hello", echo: true });
  assertEquals(choices[0].text, "hello there");
  assertEquals(serve.runtime.calls[0]!.request.scorePrompt, false);
});

Deno.test("a stop string ends the text; tokens after it are nowhere", async () => {
  const written = byteIds("ab\n\ncd");
  for (const stop of ["\n\n", ["x", "\n\n", "y", "z", "<|endoftext|>", "cd"]]) {
    const serve = new FakeServe({ script: () => written });
    const { choices: [choice], usage } = await serve.ok(PATH, {
      prompt: "hello",
      stop,
      logprobs: 0,
    });
    assertEquals([choice.text, choice.finish_reason], ["ab", "stop"]);
    assertEquals(choice.logprobs.tokens, ["a", "b", "\n", "\n"]);
    assertEquals(usage.completion_tokens, 4);
    assertEquals(serve.records[0]!.tokenIds, written.slice(0, 4));
    assertEquals(serve.records[0]!.text, "ab");
    assertEquals(serve.runtime.calls[0]!.cancelled, [0]);
    assertEquals(serve.metered.filter((line) => line === "token 0").length, 4);
  }
});

Deno.test("one choice that stops does not end another", async () => {
  const texts = ["a.bcdef", "abcdefg"];
  const serve = new FakeServe({ script: (_, choice) => byteIds(texts[choice]!) });
  const { choices } = await serve.ok(PATH, { prompt: "hello", n: 2, stop: "." });
  assertEquals(
    choices.map((choice: Record<string, unknown>) => [choice.text, choice.finish_reason]),
    [["a", "stop"], ["abcdefg", "length"]],
  );
});

Deno.test("the guard ends a text before what is banned, and hides its tokens", async () => {
  for (
    const guard of [
      new ContentGuard({ strings: ["secret"] }),
      new ContentGuard({ patterns: [/se\w+et/] }),
    ]
  ) {
    const body = { prompt: "hello", logprobs: 0, max_tokens: 40 };
    const script = () => byteIds("the secret is out");
    const whole = await new FakeServe({ script, guard }).ok(PATH, body);
    const [choice] = whole.choices;
    assertEquals([choice.text, choice.finish_reason], ["the ", "content_filter"]);
    assertEquals(choice.logprobs.tokens.join(""), "the ");
    const events = await new FakeServe({ script, guard }).stream(PATH, body);
    const shown = events.map(({ choices: [choice] }) => choice.text).join("");
    assertEquals(shown, "the ");
    const tokens = events.flatMap(({ choices: [choice] }) => choice.logprobs.tokens);
    assertEquals(tokens.join(""), "the ");
    assertEquals(events.at(-1)!.choices[0].finish_reason, "content_filter");
  }
});

Deno.test("what the guard held back comes before a stop string", async () => {
  const guard = new ContentGuard({ strings: ["secret"] });
  const serve = new FakeServe({ script: () => byteIds("a sec. more"), guard });
  const { choices: [choice] } = await serve.ok(PATH, { prompt: "x", stop: ".", logprobs: 0 });
  assertEquals([choice.text, choice.finish_reason], ["a sec", "stop"]);
  assertEquals(choice.logprobs.tokens.join(""), "a sec.");
});

Deno.test("best_of serves the highest mean log-probability, and counts all", async () => {
  // Means: -2, -1/8, -1/2, -1/8.
  const texts = [[15, 31], [16], [19, 19, 19], [32]];
  const serve = new FakeServe({ script: (_, choice) => texts[choice]! });
  const { choices, usage } = await serve.ok(PATH, {
    prompt: "hello",
    best_of: 4,
    n: 3,
    logprobs: 0,
  });
  assertEquals(
    choices.map((choice: Record<string, unknown>) => [choice.index, choice.text]),
    [[0, TOKENIZER.decode([16])], [1, TOKENIZER.decode([32])], [2, TOKENIZER.decode([19, 19, 19])]],
  );
  assertEquals(usage.completion_tokens, 7);
  assertEquals(serve.records.map(({ sampling }) => sampling.choice), [1, 3, 2]);
});

Deno.test("special tokens are left out of the text, unless they are asked for", async () => {
  const script = () => [...ids("hello"), 3, ...ids(" world")];
  const body = { prompt: "x" };
  const without = await new FakeServe({ script }).ok(PATH, body);
  assertEquals(without.choices[0].text, "hello world");
  const withThem = await new FakeServe({ script }).ok(PATH, {
    ...body,
    skip_special_tokens: false,
  });
  assertEquals(withThem.choices[0].text, "hello<|delim|> world");
});

Deno.test("ignore_eos writes on past the end of text", async () => {
  const serve = new FakeServe({ script: () => [END, ...ids("hello")] });
  const { choices } = await serve.ok(PATH, { prompt: "x", ignore_eos: true });
  assertEquals(choices[0].text, "hello");
  assertEquals(serve.runtime.calls[0]!.request.stopIds, []);
});

Deno.test("a text goes on within the character that the prompt ends in", async () => {
  const [first, ...rest] = byteIds("é!");
  const serve = new FakeServe({ script: () => rest });
  const { choices } = await serve.ok(PATH, { prompt: [...ids("caf"), first] });
  assertEquals(choices[0].text, "é!");
  const echoed = await serve.ok(PATH, { prompt: [...ids("caf"), first], echo: true });
  assertEquals(echoed.choices[0].text, "café!");
});

Deno.test("the record of a completion has all that made it", async () => {
  for (const storePrompts of [false, true]) {
    const serve = new FakeServe({ script: () => [...ids(" there"), END], storePrompts });
    await serve.ok(PATH, { prompt: "hello", seed: 9, temperature: 0, max_tokens: 5 });
    const tokenIds = [...ids(" there"), END];
    const { sampling, ...record } = serve.records[0]!;
    assertEquals(record, {
      id: "cmpl-1",
      kind: "completion",
      created: 1_700_000_000,
      model: "tiny",
      weightsHash: servedModel().weightsHash,
      promptIds: ids("hello"),
      prompt: storePrompts ? "hello" : undefined,
      text: " there",
      tokenIds,
      logProbabilities: tokenIds.map(fakeLogProbability),
      maxTokens: 5,
      finishReason: "stop",
    });
    assertEquals([sampling.seed, sampling.choice, sampling.temperature], [9, 0, 0]);
  }
});

Deno.test("store: false keeps nothing, and names no id", async () => {
  const serve = new FakeServe({ script: "x" });
  const { choices } = await serve.ok(PATH, { prompt: "hello", store: false });
  assertEquals(serve.records, []);
  assertEquals(Object.hasOwn(choices[0], "completion_id"), false);
});

Deno.test("a server that keeps nothing names no id", async () => {
  const { choices } = await new FakeServe({ script: "x", store: undefined })
    .ok(PATH, { prompt: "hello" });
  assertEquals(Object.hasOwn(choices[0], "completion_id"), false);
});

Deno.test("a completion that cannot be kept is not served", async () => {
  const full = new Error("disk full");
  const serve = new FakeServe({ script: "x", store: { save: () => Promise.reject(full) } });
  const { status, code, message } = await serve.fails(PATH, { prompt: "hello" });
  assertEquals([status, code], [500, "store_failed"]);
  assert(!message.includes("disk full"), message);
  assertEquals(serve.errors, [full]);
  const events = await serve.stream(PATH, { prompt: "hello" });
  assertEquals(events.at(-1)!.error.code, "store_failed");
  assertEquals(events.filter(({ choices }) => choices?.[0].finish_reason).length, 0);
  assertEquals(serve.released, 2);
});

Deno.test("parameters without effect are warned of, or refused", async () => {
  const serve = new FakeServe({ script: "x" });
  const body = {
    prompt: "hello",
    suffix: "}",
    user: "me",
    guided_json: {},
    logprobs: null,
    xyz: null,
  };
  const { warnings } = await serve.ok(PATH, body);
  assertEquals(warnings, [
    "parameter 'suffix' is not supported and has no effect",
    "parameter 'guided_json' is not supported and has no effect",
  ]);
  const events = await serve.stream(PATH, body);
  assertEquals(events.map((event) => event.warnings?.length), [
    2,
    ...events.slice(1).map(() => undefined),
  ]);
  const error = await serve.fails(PATH, { ...body, strict: true });
  assertEquals([error.status, error.param, error.code], [400, "suffix", "unsupported_parameter"]);
  const { warnings: none } = await serve.ok(PATH, { prompt: "hello", strict: true });
  assertEquals(none, undefined);
});

Deno.test("a full context: both counts are named, a default is cut to what fits", async () => {
  const models = [servedModel({ contextLength: 20 })];
  const serve = new FakeServe({ script: "x", models });
  const long = Array.from({ length: 15 }, () => 9);
  const error = await serve.fails(PATH, { prompt: long, max_tokens: 6 });
  assertEquals(
    [error.status, error.code, error.param],
    [400, "context_length_exceeded", "max_tokens"],
  );
  for (const count of ["20", "21", "15", "6"]) assertStringIncludes(error.message, count);
  await serve.ok(PATH, { prompt: long, max_tokens: 5 });
  await serve.ok(PATH, { prompt: long });
  assertEquals(serve.runtime.calls.map(({ request }) => request.maxTokens), [5, 5]);
  const full = Array.from({ length: 20 }, () => 9);
  const prompt = await serve.fails(PATH, { prompt: full });
  assertEquals([prompt.code, prompt.param], ["context_length_exceeded", "prompt"]);
  await serve.ok(PATH, { prompt: full, max_tokens: 0, echo: true });
});

const BAD: [body: Record<string, unknown>, param: string, says: string][] = [
  [{ prompt: [] }, "prompt", ""],
  [{ prompt: [[]] }, "prompt.0", "at least 1"],
  [{ prompt: [300] }, "prompt", "300"],
  [{ prompt: [[1, -1]] }, "prompt.0.1", "at least 0"],
  [{ prompt: [1.5] }, "prompt.0", ""],
  [{ prompt: 7 }, "prompt", "got 7"],
  [{ n: 0 }, "n", "at least 1"],
  [{ n: 129 }, "n", "at most 128"],
  [{ best_of: 21 }, "best_of", "at most 20"],
  [{ best_of: 2, n: 3 }, "best_of", "at least n = 3"],
  [{ best_of: 2, stream: true }, "best_of", "stream"],
  [{ logprobs: 6 }, "logprobs", "at most 5"],
  [{ temperature: 2.1 }, "temperature", "at most 2"],
  [{ temperature: "hot" }, "temperature", "number"],
  [{ top_p: -0.1 }, "top_p", "at least 0"],
  [{ presence_penalty: 3 }, "presence_penalty", "at most 2"],
  [{ repetition_penalty: 0 }, "repetition_penalty", "more than 0"],
  [{ max_tokens: -1 }, "max_tokens", "at least 0"],
  [{ max_tokens: 0 }, "max_tokens", "echo"],
  [{ stop: "" }, "stop", ""],
  [{ stop: ["a", ""] }, "stop.1", "at least 1"],
  [{ logit_bias: { "12": 101 } }, "logit_bias.12", "at most 100"],
  [{ logit_bias: { twelve: 1 } }, "logit_bias.twelve", ""],
  [{ logit_bias: { "300": 1 } }, "logit_bias.300", "below 300"],
  [
    { logit_bias: Object.fromEntries(Array.from({ length: 301 }, (_, id) => [id, 1])) },
    "logit_bias",
    "at most 300",
  ],
  [{ logit_bias: { "05": 1 } }, "logit_bias.05", ""],
  [{ seed: 1.5 }, "seed", "whole number"],
  [{ seed: 1e30 }, "seed", "at most"],
  [{ stream_options: { include_usage: 1 } }, "stream_options.include_usage", "boolean"],
];

for (const [fields, param, says] of BAD) {
  Deno.test(`${JSON.stringify(fields).slice(0, 60)} is a 400 for ${param}`, async () => {
    const serve = new FakeServe({ script: "x" });
    const error = await serve.fails(PATH, { prompt: "hello", ...fields });
    assertEquals([error.status, error.type], [400, "invalid_request_error"]);
    assertEquals(error.param, param, error.message);
    assertStringIncludes(error.message, says);
    assertEquals(serve.runtime.calls.length, 0);
    assertEquals(serve.admitted.length, serve.released);
  });
}

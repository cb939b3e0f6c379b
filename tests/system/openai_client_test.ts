import OpenAI from "openai";
import { Validator } from "@seriousme/openapi-schema-validator";
import { assert, assertEquals, assertGreater, assertRejects } from "@std/assert";
import { chatPaths } from "../../routes/chat.ts";
import { completionPaths } from "../../routes/completions.ts";
import { ApiError } from "../../routes/errors.ts";
import { modelPaths } from "../../routes/models.ts";
import { openApiDocument } from "../../routes/openapi.ts";
import { tokenizePaths } from "../../routes/tokenize.ts";
import { fakeLogProbability } from "../support/fake_runtime.ts";
import { END_OF_TURN, FakeServe, type FakeServeOptions, ids } from "../support/serve.ts";
import { systemTest } from "../support/system.ts";

/** OpenAI's own client against the routes, over a socket. */
async function withClient(
  options: FakeServeOptions,
  use: (client: OpenAI, serve: FakeServe) => Promise<void>,
): Promise<void> {
  const serve = new FakeServe(options);
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    serve.app.fetch,
  );
  const baseURL = `http://127.0.0.1:${server.addr.port}/v1`;
  try {
    await use(new OpenAI({ baseURL, apiKey: "none", maxRetries: 2 }), serve);
  } finally {
    await server.shutdown();
  }
}

systemTest("openai's client: completion with n, stop, echo and logprobs", async () => {
  await withClient({ script: (_, choice) => ids(` there${choice}. more`) }, async (client) => {
    const { choices, usage, model } = await client.completions.create({
      model: "tiny",
      prompt: "hello",
      n: 2,
      stop: ["."],
      echo: true,
      logprobs: 2,
    });
    assertEquals(model, "tiny");
    assertEquals(choices.map(({ text }) => text), ["hello there0", "hello there1"]);
    assertEquals(choices.map(({ finish_reason }) => finish_reason), ["stop", "stop"]);
    const { tokens, token_logprobs, text_offset } = choices[1]!.logprobs!;
    assertEquals(tokens!.join(""), "hello there1.");
    const [, ...known] = token_logprobs!;
    assertEquals(known, ids("hello there1.").slice(1).map(fakeLogProbability));
    assertEquals(text_offset!.length, tokens!.length);
    assertEquals(usage!.prompt_tokens, ids("hello").length);
  });
});

systemTest("openai's client: streams of a completion and of a chat", async () => {
  const script = () => [...ids("hello there, wörld 🦕"), END_OF_TURN];
  await withClient({ script, pingMs: 1 }, async (client, serve) => {
    let text = "";
    let usage: OpenAI.CompletionUsage | null | undefined;
    const stream = await client.completions.create({
      model: "tiny",
      prompt: "hello",
      max_tokens: 50,
      stream: true,
      stream_options: { include_usage: true },
    });
    for await (const chunk of stream) {
      text += chunk.choices[0]?.text ?? "";
      usage = chunk.usage ?? usage;
    }
    assertEquals(text, "hello there, wörld 🦕");
    assertEquals(usage!.completion_tokens, script().length);

    const runner = client.chat.completions.stream({
      model: "tiny",
      messages: [{ role: "user", content: "hello" }],
      logprobs: true,
      top_logprobs: 1,
    });
    const final = await runner.finalChatCompletion();
    assertEquals(final.choices[0]!.message.content, "hello there, wörld 🦕");
    assertEquals(final.choices[0]!.finish_reason, "stop");
    assertEquals(final.choices[0]!.logprobs!.content!.length, script().length);
    assertEquals([serve.released, serve.records.length], [2, 2]);
  });
});

systemTest("openai's client: models and errors", async () => {
  await withClient({ script: "x" }, async (client) => {
    const models = [];
    for await (const model of client.models.list()) models.push(model.id);
    assertEquals(models, ["tiny"]);
    assertEquals((await client.models.retrieve("tiny")).owned_by, "brachio");
    const missing = await assertRejects(
      () => client.models.retrieve("tiny@9"),
      OpenAI.NotFoundError,
    );
    assertEquals(missing.code, "model_not_found");
    const bad = await assertRejects(
      () => client.completions.create({ model: "tiny", prompt: "x", temperature: 9 }),
      OpenAI.BadRequestError,
    );
    assertEquals([bad.param, bad.type], ["temperature", "invalid_request_error"]);
    const long = await assertRejects(
      () => client.completions.create({ model: "tiny", prompt: "x", max_tokens: 1000 }),
      OpenAI.BadRequestError,
    );
    assertEquals(long.code, "context_length_exceeded");
  });
});

systemTest("openai's client: an error in mid-stream is thrown", async () => {
  let tokens = 0;
  const before = (event: { kind: string }) => {
    if (event.kind === "token" && ++tokens === 3) throw new Error("device lost");
  };
  await withClient({ script: "hello there, hello", before }, async (client) => {
    const stream = await client.completions.create({ model: "tiny", prompt: "x", stream: true });
    let text = "";
    const error = await assertRejects(async () => {
      for await (const chunk of stream) text += chunk.choices[0]!.text;
    }, OpenAI.APIError);
    assertGreater(text.length, 0);
    assert(!error.message.includes("device"), error.message);
  });
});

systemTest("openai's client: tries again when it is told to", async () => {
  let tries = 0;
  const admission = {
    admit: () => {
      if (++tries < 3) throw new ApiError(429, "busy", { retryAfterMs: 5 });
      return () => {};
    },
  };
  await withClient({ script: "abc", admission }, async (client) => {
    const startMs = performance.now();
    const { choices } = await client.completions.create({ model: "tiny", prompt: "x" });
    assertEquals([choices[0]!.text, tries], ["abc", 3]);
    assert(performance.now() - startMs < 400, "it waited for its own back-off");
  });
});

systemTest("openai's client: leaving a stream cancels what is under way", async () => {
  const pause = (event: { kind: string }) =>
    event.kind === "token"
      ? new Promise<void>((resolve) => setTimeout(resolve, 10))
      : Promise.resolve();
  const script = () => Array.from({ length: 60 }, () => 40);
  await withClient({ script, before: pause }, async (client, serve) => {
    const body = { model: "tiny", prompt: "x", max_tokens: 60 };
    for await (const _ of await client.completions.create({ ...body, stream: true })) break;
    const leaving = new AbortController();
    const whole = client.completions.create(body, { signal: leaving.signal });
    setTimeout(() => leaving.abort(), 60);
    await assertRejects(() => whole, OpenAI.APIUserAbortError);
    for (let waited = 0; serve.released < 2 && waited < 100; waited++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assertEquals(serve.released, 2);
    assertEquals(serve.runtime.calls.map(({ done }) => done), [false, false]);
    assertEquals([serve.records, serve.errors], [[], []]);
  });
});

systemTest("the description of the routes is valid OpenAPI", async () => {
  const document = openApiDocument([completionPaths, chatPaths, modelPaths, tokenizePaths]);
  const result = await new Validator().validate(JSON.parse(JSON.stringify(document)));
  assertEquals(result.errors ?? [], []);
  assert(result.valid);
});

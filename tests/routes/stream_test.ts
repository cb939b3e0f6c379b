import { assert, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { ApiError } from "../../routes/errors.ts";
import type { TextEvent } from "../../src/infer/request.ts";
import { byteIds, END, FakeServe, ids, parseEvents } from "../support/serve.ts";

const PATH = "/v1/completions";
// deno-lint-ignore no-explicit-any
type Event = any;

function textOf(events: Event[], index = 0): string {
  return events.flatMap(({ choices }) => choices)
    .filter((choice: Event) => choice.index === index)
    .map((choice: Event) => choice.text).join("");
}

Deno.test("a streamed completion is the whole one in pieces, with one id", async () => {
  const script = () => [...ids(" there, hello"), END];
  const body = { prompt: "hello", max_tokens: 40 };
  const whole = await new FakeServe({ script }).ok(PATH, body);
  const serve = new FakeServe({ script });
  const events = await serve.stream(PATH, body);
  assert(events.length > 2);
  for (const event of events) {
    const { choices, ...head } = event;
    assertEquals(head, {
      id: "cmpl-1",
      object: "text_completion",
      created: 1_700_000_000,
      model: "tiny",
      system_fingerprint: "fp_0123456789",
    });
    for (const key of ["index", "text", "logprobs", "finish_reason"]) {
      assert(Object.hasOwn(choices[0], key), key);
    }
  }
  assertEquals(textOf(events), whole.choices[0].text);
  const reasons = events.map(({ choices }) => choices[0].finish_reason);
  assertEquals(reasons, [...reasons.slice(0, -1).map(() => null), "stop"]);
  assertEquals(events.at(-1)!.choices[0].completion_id, "cmpl-1");
  assertEquals([serve.admitted.length, serve.released], [1, 1]);
});

Deno.test("include_usage: null on every event, then one without choices", async () => {
  const serve = new FakeServe({ script: "abc", cachedTokens: 2 });
  const stream_options = { include_usage: true };
  const events = await serve.stream(PATH, { prompt: ["hello", "x"], n: 2, stream_options });
  const last = events.pop()!;
  assertEquals(events.map(({ usage }) => usage), events.map(() => null));
  const prompt_tokens = ids("hello").length + 1;
  const completion_tokens = 4 * ids("abc").length;
  assertEquals([last.choices, last.usage], [[], {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens: 4 },
  }]);
  for (const index of [0, 1, 2, 3]) assertEquals(textOf(events, index), "abc");
});

Deno.test("with echo the first event has the prompt and the first token", async () => {
  const serve = new FakeServe({ script: () => byteIds("xyz") });
  const body = { prompt: "hello world", echo: true, logprobs: 0 };
  const events = await serve.stream(PATH, body);
  const prompt = ids("hello world");
  const [first, second] = events.map(({ choices: [choice] }) => choice);
  assertEquals(first.text, "hello worldx");
  assertEquals(first.logprobs.tokens.join(""), "hello worldx");
  assertEquals(first.logprobs.tokens.length, prompt.length + 1);
  assertEquals(first.logprobs.token_logprobs[0], null);
  assertEquals([second.text, second.logprobs.tokens], ["y", ["y"]]);
  assertEquals(second.logprobs.text_offset, ["hello worldx".length]);
  const whole = await serve.ok(PATH, body);
  for (const key of ["tokens", "token_logprobs", "top_logprobs", "text_offset"]) {
    const joined = events.flatMap(({ choices: [choice] }) => choice.logprobs[key]);
    assertEquals(joined, whole.choices[0].logprobs[key], key);
  }
});

Deno.test("max_tokens 0 with echo streams the prompt in one event", async () => {
  const events = await new FakeServe().stream(PATH, { prompt: "hello", echo: true, max_tokens: 0 });
  assertEquals(events.length, 1);
  assertEquals([textOf(events), events[0].choices[0].finish_reason], ["hello", "length"]);
});

Deno.test("no event cuts a character, or shows a stop string's beginning", async () => {
  const serve = new FakeServe({ script: () => byteIds("a🦕é STO STOP and more") });
  const events = await serve.stream(PATH, { prompt: "x", stop: ["STOP"], max_tokens: 60 });
  const pieces = events.map(({ choices: [{ text }] }) => text);
  assertEquals(pieces.join(""), "a🦕é STO ");
  assert(pieces.every((piece) => piece.isWellFormed() && !piece.includes("\ufffd")));
  // "STO" waits until the space after it, then comes whole.
  assertEquals(pieces.filter((piece) => /S/.test(piece)), ["STO "]);
  assertEquals(events.at(-1)!.choices[0].finish_reason, "stop");
});

Deno.test("text held back comes when the rest of the stop string does not", async () => {
  const serve = new FakeServe({ script: () => byteIds("abST") });
  const events = await serve.stream(PATH, { prompt: "x", stop: ["STOP"] });
  assertEquals(textOf(events), "abST");
  assertEquals(events.at(-1)!.choices[0].text, "ST");
});

Deno.test("the record is kept before the last piece of its text leaves", async () => {
  const kept = Promise.withResolvers<void>();
  const serve = new FakeServe({ script: "abc", store: { save: () => kept.promise } });
  const response = await serve.post(PATH, { prompt: "x", stream: true });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  const reading = (async () => {
    for (let next = await reader.read(); !next.done; next = await reader.read()) text += next.value;
  })();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert(!text.includes(`"finish_reason":"length"`), text);
  kept.resolve();
  await reading;
  assertEquals(parseEvents(text).at(-1)!.choices[0].finish_reason, "length");
});

Deno.test("a failure in mid-stream is an event, then [DONE]; its cause stays here", async () => {
  const lost = new Error("device lost: /dev/dri/card0");
  let count = 0;
  const before = (event: TextEvent) => {
    if (event.kind === "token" && ++count === 3) throw lost;
  };
  const serve = new FakeServe({ script: () => byteIds("abcdef"), before });
  const events = await serve.stream(PATH, { prompt: ["x", "y"] });
  const { error } = events.at(-1)!;
  assertEquals([error.type, error.param, error.code], ["server_error", null, null]);
  assert(!error.message.includes("device"), error.message);
  assertEquals(serve.errors, [lost]);
  assertEquals([serve.admitted.length, serve.released], [1, 1]);
  assertEquals(serve.runtime.calls.map(({ left }) => left), [true, true]);
  assertEquals(
    serve.metered.filter((line) => line.startsWith("end")).sort(),
    ["end 0 cancelled", "end 0 error"],
  );
});

Deno.test("a failure of a whole answer is a 500, and the other prompts end", async () => {
  const before = (event: TextEvent, { prompt }: { prompt: readonly number[] }) => {
    if (event.kind === "token" && prompt[0] === 9) throw new Error("boom");
  };
  const serve = new FakeServe({ script: () => byteIds("abcdef"), before });
  const error = await serve.fails(PATH, { prompt: [[9], [10], [11]] });
  assertEquals([error.status, error.type], [500, "server_error"]);
  assertEquals(serve.runtime.calls.map(({ left }) => left), [true, true, true]);
  assertEquals([serve.admitted.length, serve.released, serve.records.length], [1, 1, 0]);
});

Deno.test("a client that goes cancels, and its share is given back", async () => {
  for (const how of ["cancel", "signal"]) {
    const step = Promise.withResolvers<void>();
    let tokens = 0;
    const serve = new FakeServe({
      script: () => Array.from({ length: 50 }, () => 40),
      before: (event) => event.kind === "token" && ++tokens > 3 ? step.promise : undefined,
    });
    const leaving = new AbortController();
    const response = await serve.post(PATH, { prompt: "x", stream: true, max_tokens: 50 }, {
      signal: leaving.signal,
    });
    const reader = response.body!.getReader();
    await reader.read();
    if (how === "cancel") await reader.cancel();
    else leaving.abort();
    step.resolve();
    await new Promise((resolve) => setTimeout(resolve, 10));
    assertEquals(serve.runtime.calls.map(({ left, done }) => [left, done]), [[true, false]], how);
    assertEquals(serve.released, 1);
    assertLess(tokens, 10);
    assertEquals(serve.records, []);
    assertEquals(serve.errors, []);
    if (how === "signal") await reader.cancel();
  }
});

Deno.test("a client that does not read does not hold up another", async () => {
  const serve = new FakeServe({ script: () => Array.from({ length: 50 }, () => 40) });
  const body = { prompt: "x", stream: true, max_tokens: 50 };
  const idle = await serve.post(PATH, body);
  const events = parseEvents(await (await serve.post(PATH, body)).text());
  assertEquals(events.at(-1)!.choices[0].finish_reason, "length");
  assertEquals(serve.released, 1);
  assertEquals(serve.runtime.calls[0]!.done, false); // it waits for its reader
  await idle.body!.cancel();
  await new Promise((resolve) => setTimeout(resolve, 10));
  assertEquals(serve.released, 2);
});

Deno.test("a client that never reads is given up at the deadline", async () => {
  const serve = new FakeServe({
    script: () => Array.from({ length: 50 }, () => 40),
    deadlineMs: 30,
  });
  const response = await serve.post(PATH, { prompt: "x", stream: true, max_tokens: 50 });
  await new Promise((resolve) => setTimeout(resolve, 60));
  assertEquals(serve.runtime.calls.map(({ left }) => left), [true]);
  assertEquals(serve.released, 1);
  const events = parseEvents(await response.text());
  assertEquals(events.at(-1)!.error.code, "deadline_exceeded");
});

Deno.test("comments do not pile up before a client that does not read", async () => {
  const serve = new FakeServe({
    script: "ab",
    pingMs: 1,
    before: (event) =>
      event.kind === "token" ? new Promise((resolve) => setTimeout(resolve, 60)) : undefined,
  });
  const response = await serve.post(PATH, { prompt: "x", stream: true, max_tokens: 1 });
  await new Promise((resolve) => setTimeout(resolve, 50));
  const text = await response.text();
  const before = text.slice(0, text.indexOf("data:"));
  assert(before.split(": ping").length - 1 < 20, before);
});

Deno.test({
  name: "no timer outlives a request",
  sanitizeOps: true,
  sanitizeResources: true,
  fn: async () => {
    const serve = new FakeServe({ script: "ab" });
    await serve.ok(PATH, { prompt: "x" });
    await serve.stream(PATH, { prompt: "x" });
  },
});

Deno.test("a silent stream is kept open by comments", async () => {
  const serve = new FakeServe({
    script: "ab",
    pingMs: 5,
    before: (event) =>
      event.kind === "token" ? new Promise((resolve) => setTimeout(resolve, 40)) : undefined,
  });
  const response = await serve.post(PATH, { prompt: "x", stream: true });
  const text = await response.text();
  const pings = text.split("\n\n").filter((block) => block === ": ping").length;
  assert(pings >= 2, text);
  assertEquals(textOf(parseEvents(text)), "ab");
});

Deno.test("the deadline and the server's end stop what is under way", async () => {
  const wait = (event: TextEvent) =>
    event.kind === "token" ? new Promise<void>((resolve) => setTimeout(resolve, 15)) : undefined;
  const script = () => Array.from({ length: 50 }, () => 40);
  const body = { prompt: "x", max_tokens: 50 };

  const late = new FakeServe({ script, before: wait, deadlineMs: 30 });
  const error = await late.fails(PATH, body);
  assertEquals([error.status, error.type, error.code], [504, ...twice("deadline_exceeded")]);
  const events = await late.stream(PATH, body);
  assertEquals(events.at(-1)!.error.code, "deadline_exceeded");
  assertEquals(late.released, 2);

  const ending = new FakeServe({ script, before: wait });
  const streamed = ending.stream(PATH, body);
  const whole = ending.post(PATH, body);
  await new Promise((resolve) => setTimeout(resolve, 30));
  ending.shutdown.abort(new ApiError(503, "The server ends", { retryAfterMs: 1500 }));
  assertEquals((await streamed).at(-1)!.error.type, "unavailable_error");
  const response = await whole;
  assertEquals([response.status, response.headers.get("retry-after-ms")], [503, "1500"]);
  await response.body!.cancel();
  assertEquals(ending.released, 2);
  const after = await ending.fails(PATH, body);
  assertEquals([after.status, ending.admitted.length], [503, 2]);
});

Deno.test("what is refused at the door never reaches the engine", async () => {
  const full = new ApiError(429, "Cannot take it", { code: "overloaded", retryAfterMs: 250 });
  const serve = new FakeServe({
    admission: {
      admit: () => {
        throw full;
      },
    },
  });
  for (const stream of [false, true]) {
    const response = await serve.post(PATH, { prompt: "x", stream });
    assertEquals(response.status, 429);
    assertEquals(response.headers.get("retry-after-ms"), "250");
    assertStringIncludes(response.headers.get("content-type")!, "application/json");
    assertEquals((await response.json()).error.type, "overloaded");
  }
  assertEquals(serve.runtime.calls, []);
});

function twice<T>(value: T): [T, T] {
  return [value, value];
}

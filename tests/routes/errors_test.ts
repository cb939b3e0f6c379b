import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { HTTPException } from "hono/http-exception";
import { ApiError, notFoundHandler, toApiError } from "../../routes/errors.ts";
import { CannotError } from "../../src/config/cannot.ts";
import { FakeServe } from "../support/serve.ts";

const JSON_TYPE = { "content-type": "application/json" };

Deno.test("a body must be said to be JSON", async () => {
  const serve = new FakeServe({ script: "x" });
  const body = JSON.stringify({ prompt: "hello" });
  for (
    const [type, status] of [
      ["application/json", 200],
      ["application/json; charset=utf-8", 200],
      ["Application/JSON", 200],
      ["text/plain", 415],
      ["application/x-www-form-urlencoded", 415],
      ["application/jsonl", 415],
      [undefined, 415],
    ] as const
  ) {
    const headers = type === undefined ? [] : [["content-type", type] as [string, string]];
    const bytes = new TextEncoder().encode(body); // a text would bring a type of its own
    const response = await serve.post("/v1/completions", {}, { headers, body: bytes });
    const answer = await response.json();
    assertEquals(response.status, status, JSON.stringify([type, answer]));
    if (status === 415) assertEquals(answer.error.code, "unsupported_media_type");
  }
});

Deno.test("a body must be UTF-8, and JSON, and an object", async () => {
  const serve = new FakeServe({ script: "x" });
  const utf8 = new TextEncoder();
  for (
    const [body, code] of [
      [new Uint8Array([...utf8.encode('{"prompt":"'), 0xff, ...utf8.encode('"}')]), "invalid_utf8"],
      [utf8.encode('{"prompt":'), "invalid_json"],
      [utf8.encode(""), "invalid_json"],
      [utf8.encode("[]"), "invalid_value"],
      [utf8.encode("null"), "invalid_value"],
      [utf8.encode('{"prompt":NaN}'), "invalid_json"],
    ] as const
  ) {
    for (const path of ["/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize"]) {
      const response = await serve.post(path, {}, { headers: JSON_TYPE, body });
      const { error } = await response.json();
      assertEquals([response.status, error.code], [400, code], error.message);
    }
  }
  assertEquals(serve.runtime.calls, []);
});

Deno.test("an unknown model is a 404 that names the known ones; none at all is a 503", async () => {
  const calls: [string, Record<string, unknown>][] = [
    ["/v1/completions", { prompt: "x" }],
    ["/v1/chat/completions", { messages: [{ role: "user", content: "x" }] }],
    ["/tokenize", { prompt: "x" }],
    ["/detokenize", { tokens: [9] }],
  ];
  for (const [path, body] of calls) {
    const error = await new FakeServe().fails(path, { ...body, model: "tiny@3" });
    assertEquals([error.status, error.param, error.code], [404, "model", "model_not_found"]);
    assertStringIncludes(error.message, "'tiny'");
    const none = new FakeServe({ models: [] });
    const response = await none.post(path, body);
    assertEquals([response.status, response.headers.get("retry-after-ms")], [503, "1000"]);
    assertEquals((await response.json()).error.type, "unavailable_error");
  }
});

Deno.test("a tokenizer that cannot be read is a 500, and its path stays here", async () => {
  const cause = new CannotError("load /srv/secret/tokenizer.json", "want JSON", "it is none");
  const serve = new FakeServe({ tokenizers: { of: () => Promise.reject(cause) } });
  const error = await serve.fails("/v1/completions", { prompt: "x" });
  assertEquals([error.status, error.code], [500, "tokenizer_unavailable"]);
  assert(!error.message.includes("secret"), error.message);
  assertEquals(serve.errors, [cause]);
});

Deno.test("what is thrown becomes what may be told", () => {
  const told = (thrown: unknown) => {
    const { status, message } = toApiError(thrown);
    return [status, message];
  };
  assertEquals(told(new RangeError("Cannot generate: x: y")), [400, "Cannot generate: x: y"]);
  assertEquals(told(new HTTPException(413, { message: "too large" })), [413, "too large"]);
  for (
    const hidden of [new Error("/etc/passwd"), new RangeError("Invalid array length"), "x", null]
  ) {
    const [status, message] = told(hidden);
    assertEquals(status, 500);
    assertMatch(String(message), /^The server had an error/);
  }
  const own = new ApiError(409, "Cannot do it twice");
  assertEquals(toApiError(own), own);
});

Deno.test("an error's response has the headers that clients obey", async () => {
  const conflict = new ApiError(409, "no").response();
  assertEquals(conflict.headers.get("x-should-retry"), "false");
  assertEquals((await conflict.json()).error, {
    message: "no",
    type: "conflict_error",
    param: null,
    code: null,
  });
  const busy = new ApiError(429, "busy", { retryAfterMs: 1500.2 }).response();
  assertEquals(
    [busy.headers.get("retry-after-ms"), busy.headers.get("retry-after")],
    ["1501", "2"],
  );
  await busy.body!.cancel();
});

Deno.test("an unknown route is a 404 of the same form", async () => {
  const { app } = new FakeServe();
  app.notFound(notFoundHandler());
  const response = await app.request("/v2/nothing");
  const { error } = await response.json();
  assertEquals([response.status, error.code], [404, "unknown_url"]);
  assertStringIncludes(error.message, "GET /v2/nothing");
});

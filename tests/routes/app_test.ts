import { assert, assertEquals } from "@std/assert";
import type { Hono } from "hono";
import { type AppOptions, createApp, createLoadingApp } from "../../routes/app.ts";
import { BoundedAdmission } from "../../routes/operations/admission.ts";
import { Lifecycle } from "../../routes/operations/lifecycle.ts";
import { ServerMetrics } from "../../routes/operations/metrics.ts";
import { ApiKeys } from "../../src/config/api_keys.ts";
import { FeedbackServe } from "../support/feedback.ts";
import { type LogLine, recordingLogger } from "../support/logger.ts";
import { FakeServe, type FakeServeOptions } from "../support/serve.ts";

interface Options {
  config?: Partial<AppOptions["config"]>;
  keys?: ApiKeys;
  serve?: FakeServeOptions;
}

function make({ config = {}, keys, serve = { script: "one two" } }: Options = {}) {
  const lines: LogLine[] = [];
  const lifecycle = new Lifecycle();
  lifecycle.state = "ready";
  const fake = new FakeServe({ logger: recordingLogger(lines), ...serve });
  const metrics = new ServerMetrics(fake.runtime, () => 0);
  const options = {
    config: { allowHosts: [], cors: [], bodyBytes: 2_000, ...config },
    lifecycle,
    keys: keys && (() => Promise.resolve(keys)),
    logger: recordingLogger(lines),
    nowMs: () => 0,
    metrics,
  };
  const app = createApp({ ...fake.deps, meter: metrics }, options);
  return { app, fake, lines, lifecycle, options };
}

function request(app: Hono, path: string, init: RequestInit & { body?: string } = {}) {
  const headers = new Headers(init.headers);
  if (!headers.has("host")) headers.set("host", "localhost:8080");
  if (init.body !== undefined && !headers.has("content-type")) {
    headers.set("content-type", "application/json");
  }
  return app.request(`http://localhost:8080${path}`, {
    method: init.body === undefined ? "GET" : "POST",
    ...init,
    headers,
  });
}

const COMPLETION = { body: JSON.stringify({ prompt: "zero", max_tokens: 8 }) };

Deno.test("createApp() serves every route of its description", async () => {
  const { app } = make();
  const document = await (await request(app, "/openapi.json")).json();
  const paths = Object.keys(document.paths);
  for (
    const path of ["/v1/completions", "/v1/chat/completions", "/v1/models", "/v1/models/{id}"]
  ) assert(paths.includes(path), path);
  for (const [path, operations] of Object.entries<object>(document.paths)) {
    for (const method of Object.keys(operations)) {
      const body = method === "get" ? {} : { body: "{}" };
      const init = { method: method.toUpperCase(), ...body };
      const response = await request(app, path.replace(/\{\w+\}/, "none"), init);
      const text = await response.text();
      const error = response.ok ? undefined : JSON.parse(text).error;
      assert(error?.code !== "unknown_url", `${method} ${path}`);
      assert(response.status < 500, `${method} ${path}: ${response.status}`);
    }
  }
});

Deno.test("createApp() asks for a key where data are, and nowhere else", async () => {
  const made = new ApiKeys().create("app", ["infer"], 0);
  const { app } = make({ keys: made.keys });
  for (const path of ["/health", "/docs", "/openapi.json"]) {
    const response = await request(app, path);
    await response.body?.cancel();
    assertEquals(response.status, 200, path);
  }
  for (const path of ["/metrics", "/v1/models", "/tokenizer_info", "/nothing"]) {
    const response = await request(app, path);
    assertEquals(response.status, 401, path);
    assertEquals((await response.json()).error.code, "invalid_api_key");
  }
  assertEquals((await request(app, "/v1/completions", COMPLETION)).status, 401);
  const headers = { authorization: `Bearer ${made.text}` };
  const response = await request(app, "/v1/completions", { ...COMPLETION, headers });
  assertEquals(response.status, 200);
  assertEquals((await response.json()).choices[0].text, "one two");
});

Deno.test("createApp() counts what it serves", async () => {
  const { app } = make();
  await (await request(app, "/v1/completions", COMPLETION)).json();
  const text = await (await request(app, "/metrics")).text();
  assert(/^brachio_generation_tokens_total [1-9]/m.test(text), text);
  assert(/^brachio_request_success_total\{finished_reason="length"\} 1$/m.test(text), text);
});

Deno.test("createApp() gives every response the request's id, or a new one", async () => {
  const { app, lines } = make();
  const mine = await request(app, "/v1/models", { headers: { "x-request-id": "mine-1" } });
  assertEquals(mine.headers.get("x-request-id"), "mine-1");
  await mine.body?.cancel();
  const own = await request(app, "/nothing");
  assert((own.headers.get("x-request-id") ?? "").length > 10);
  await own.body?.cancel();
  assertEquals(lines.map(({ fields }) => [fields.id, fields.path, fields.status]), [
    ["mine-1", "/v1/models", 200],
    [own.headers.get("x-request-id"), "/nothing", 404],
  ]);
});

Deno.test("createApp() logs no text of a prompt or an answer", async () => {
  const { app, lines } = make({ serve: { script: "one two" } });
  const body = JSON.stringify({ prompt: "secret words", max_tokens: 8 });
  await (await request(app, "/v1/completions", { body })).json();
  await (await request(app, "/v1/completions", { body: '{"prompt": "secret' })).json();
  assertEquals(lines.length, 2);
  assert(!/secret|one two/.test(JSON.stringify(lines)), JSON.stringify(lines));
});

Deno.test("createApp() refuses bodies that are too large, with and without a length", async () => {
  const { app, fake } = make({ config: { bodyBytes: 1_000 } });
  const body = JSON.stringify({ prompt: "x".repeat(2_000) });
  const whole = await request(app, "/v1/completions", {
    body,
    headers: { "content-length": String(body.length) },
  });
  const chunked = new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(body));
      controller.close();
    },
  });
  const streamed = await app.request("http://localhost/v1/completions", {
    method: "POST",
    headers: { host: "localhost", "content-type": "application/json" },
    body: chunked,
  });
  for (const response of [whole, streamed]) {
    assertEquals(response.status, 413);
    assertEquals((await response.json()).error.code, "request_too_large");
  }
  assertEquals(fake.runtime.calls, []);
});

Deno.test("createApp() answers other origins only where they are listed", async () => {
  const origin = "https://page.example";
  const preflight = {
    method: "OPTIONS",
    headers: { origin, "access-control-request-method": "POST" },
  };
  const closed = await request(make().app, "/v1/completions", preflight);
  assertEquals(closed.headers.get("access-control-allow-origin"), null);

  const keys = new ApiKeys().create("app", ["infer"], 0).keys;
  const { app } = make({ config: { cors: [origin] }, keys });
  const open = await request(app, "/v1/completions", preflight);
  assertEquals(open.status, 204); // a browser sends no key here
  assertEquals(open.headers.get("access-control-allow-origin"), origin);
  const other = {
    ...preflight,
    headers: { ...preflight.headers, origin: "https://other.example" },
  };
  const refused = await request(app, "/v1/completions", other);
  assertEquals(refused.headers.get("access-control-allow-origin"), null);
});

Deno.test("createApp() refuses what is over its bounds, and takes it when there is room", async () => {
  const admission = new BoundedAdmission({
    mostChoices: 1,
    mostTokens: 1_000,
    tokensPerSecond: () => 10,
  });
  const { app } = make({ serve: { script: "one", admission } });
  const release = admission.admit({ choices: 1, tokens: 20 });
  const refused = await request(app, "/v1/completions", COMPLETION);
  assertEquals(refused.status, 429);
  assertEquals(refused.headers.get("retry-after-ms"), "2000");
  assertEquals((await refused.json()).error.type, "overloaded");
  release();
  assertEquals((await request(app, "/v1/completions", COMPLETION)).status, 200);
  assertEquals([admission.choices, admission.tokens], [0, 0]);
});

Deno.test("createApp() refuses texts, not pages, while the server drains", async () => {
  const { app, lifecycle } = make();
  lifecycle.state = "draining";
  for (const [path, status] of [["/health", 503], ["/docs", 200], ["/metrics", 200]] as const) {
    const response = await request(app, path);
    await response.body?.cancel();
    assertEquals(response.status, status, path);
  }
  const refused = await request(app, "/v1/completions", COMPLETION);
  assertEquals([refused.status, (await refused.json()).error.code], [503, "draining"]);
});

Deno.test("createApp() refuses strange hosts before anything else", async () => {
  const { app, fake } = make();
  const init = { ...COMPLETION, headers: { host: "evil.example" } };
  const response = await request(app, "/v1/completions", init);
  assertEquals([response.status, (await response.json()).error.code], [403, "host_not_allowed"]);
  assertEquals(fake.runtime.calls, []);
});

Deno.test("createLoadingApp() says that it is loading", async () => {
  const { options } = make();
  options.lifecycle.state = "loading";
  const app = createLoadingApp(options);
  const response = await request(app, "/v1/completions", COMPLETION);
  assertEquals([response.status, (await response.json()).error.code], [503, "loading"]);
  assert(response.headers.has("retry-after-ms"));
  assertEquals((await request(app, "/health")).status, 503);
});

Deno.test("createApp() lets keys do with feedback what their scopes say", async () => {
  let keys = new ApiKeys();
  const texts: Record<string, string> = {};
  for (const scope of ["infer", "feedback:write", "feedback:read", "admin"] as const) {
    const made = keys.create(scope, [scope], 0);
    keys = made.keys;
    texts[scope] = made.text;
  }
  using serve = new FeedbackServe();
  const { app } = make({ keys, serve: { feedback: serve.feedback } });
  const body = JSON.stringify({
    type: "rating",
    prompt: "p",
    candidates: [{ text: "a" }],
    rating: { value: true },
  });
  const batch = JSON.stringify({ items: [JSON.parse(body)] });
  const cases: [method: string, path: string, body: string | undefined, ...scopes: string[]][] = [
    ["POST", "", body, "feedback:write", "admin"],
    ["POST", "/batch", batch, "feedback:write", "admin"],
    ["GET", "", undefined, "feedback:read", "admin"],
    ["GET", "/fb-1", undefined, "feedback:read", "admin"],
    ["DELETE", "/fb-none", undefined, "admin"],
  ];
  for (const [method, path, body, ...allowed] of cases) {
    for (const [scope, text] of Object.entries(texts)) {
      const response = await request(app, `/v1/feedback${path}`, {
        method,
        headers: { authorization: `Bearer ${text}` },
        ...(body === undefined ? {} : { body }),
      });
      const answer = await response.json();
      const isAllowed = answer.error?.code !== "insufficient_scope";
      assertEquals(isAllowed, allowed.includes(scope), `${method} ${path} with ${scope}`);
      if (!isAllowed) assertEquals(response.status, 403);
    }
  }
  // Two keys without a labeler's name are two labelers.
  const { data } = await (await request(app, "/v1/feedback", {
    headers: { authorization: `Bearer ${texts.admin}` },
  })).json();
  // deno-lint-ignore no-explicit-any
  assertEquals(new Set(data.map(({ labeler }: any) => labeler.id)).size, 2);
});

Deno.test("createApp() refuses feedback that is too large, and stores nothing of it", async () => {
  using serve = new FeedbackServe();
  const { app } = make({ serve: { feedback: serve.feedback } });
  const rating = { type: "rating", prompt: "p", rating: { value: true } };
  const send = (text: string) =>
    request(app, "/v1/feedback", {
      body: JSON.stringify({ ...rating, candidates: [{ text }] }),
    });
  const response = await send("x".repeat(3_000));
  assertEquals([response.status, (await response.json()).error.code], [413, "request_too_large"]);
  assertEquals(serve.feedback.store.datasetVersion, 0);
  assertEquals((await send("x")).status, 201);
});

import { Hono } from "hono";
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { chatPaths } from "../../routes/chat.ts";
import { classifyPaths } from "../../routes/classify.ts";
import { completionPaths } from "../../routes/completions.ts";
import { cotPaths } from "../../routes/cot.ts";
import { docs } from "../../routes/docs.ts";
import { feedbackPaths } from "../../routes/feedback.ts";
import { feedbackBatchPaths } from "../../routes/feedback_batch.ts";
import { feedbackExportPaths } from "../../routes/feedback_export.ts";
import { feedbackQueuePaths } from "../../routes/feedback_queue.ts";
import { fewShotPaths } from "../../routes/few_shot.ts";
import { modelPaths } from "../../routes/models.ts";
import { openapi, openApiDocument } from "../../routes/openapi.ts";
import { rewardPaths } from "../../routes/reward.ts";
import { trainingPaths } from "../../routes/training.ts";
import { tokenizePaths } from "../../routes/tokenize.ts";
import { FakeServe } from "../support/serve.ts";

const PARTS = [
  completionPaths,
  chatPaths,
  fewShotPaths,
  cotPaths,
  modelPaths,
  tokenizePaths,
  classifyPaths,
  feedbackBatchPaths,
  feedbackQueuePaths,
  feedbackExportPaths,
  feedbackPaths,
  rewardPaths,
  trainingPaths,
];

Deno.test("/openapi.json is the description", async () => {
  const response = await new Hono().route("/", openapi(PARTS)).request("/openapi.json");
  assertStringIncludes(response.headers.get("content-type")!, "application/json");
  const document = await response.json();
  assertEquals(document.openapi, "3.1.0");
  assertEquals(document, JSON.parse(JSON.stringify(openApiDocument(PARTS))));
});

Deno.test("every route is described, and every description has a route", () => {
  const described = Object.entries(openApiDocument(PARTS).paths!).flatMap(([path, item]) =>
    Object.keys(item!).map((method) => `${method.toUpperCase()} ${path}`)
  );
  const { app } = new FakeServe();
  const routed = app.routes.map(({ method, path }) =>
    `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`
  );
  assertEquals(described.sort(), routed.sort());
});

Deno.test("the description says what the schemas check", () => {
  const { components } = openApiDocument(PARTS);
  // deno-lint-ignore no-explicit-any
  const schemas = components!.schemas as any;
  const { properties } = schemas.CompletionRequest;
  assertStringIncludes(JSON.stringify(properties.best_of), '"maximum":20');
  assertStringIncludes(JSON.stringify(properties.max_tokens), '"default":16');
  assertEquals(schemas.Error.properties.error.required, ["message", "type", "param", "code"]);
  assertEquals(schemas.CompletionChoice.required, ["index", "text", "logprobs", "finish_reason"]);
});

Deno.test("no path can be described twice", () => {
  assertThrows(() => openApiDocument([modelPaths, modelPaths]), RangeError, "/v1/models");
});

Deno.test("/docs is whole without a network", async () => {
  const app = new Hono().route("/", docs());
  const page = await app.request("/docs");
  const html = await page.text();
  assertStringIncludes(page.headers.get("content-type")!, "text/html");
  assert(!/https?:\/\//.test(html), "the page names another site");
  assertStringIncludes(page.headers.get("content-security-policy")!, "default-src 'self'");
  const files = [...html.matchAll(/(?:src|href)="(docs\/[^"]+)"/g)].map(([, path]) => path!);
  assertEquals(files.length, 3);
  const types = { css: "text/css", js: "text/javascript" };
  for (const file of files) {
    const response = await app.request(`/${file}`);
    assertEquals(response.status, 200, file);
    const type = types[file.split(".").at(-1) as keyof typeof types];
    assertMatch(response.headers.get("content-type")!, new RegExp(`^${type}; charset=utf-8`));
    const text = await response.text();
    const marks = {
      "docs/swagger-ui.css": ".swagger-ui",
      "docs/swagger-ui-bundle.js": "SwaggerUIBundle",
      "docs/start.js": "openapi.json",
    };
    assertStringIncludes(text, marks[file as keyof typeof marks]);
  }
});

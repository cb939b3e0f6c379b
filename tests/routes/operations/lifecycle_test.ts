import { assertEquals } from "@std/assert";
import { Hono } from "hono";
import { errorHandler } from "../../../routes/errors.ts";
import { health, Lifecycle, type ServerState } from "../../../routes/operations/lifecycle.ts";
import { silentLogger } from "../../support/logger.ts";

const CASES: readonly { state: ServerState; status: number; says: string }[] = [
  { state: "loading", status: 503, says: "loading" },
  { state: "ready", status: 200, says: "ok" },
  { state: "draining", status: 503, says: "draining" },
  { state: "failed", status: 503, says: "failed" },
];

for (const { state, status, says } of CASES) {
  Deno.test(`a server that is ${state} answers with ${status}`, async () => {
    const lifecycle = new Lifecycle();
    assertEquals(lifecycle.state, "loading");
    lifecycle.state = state;
    const healthResponse = await health(lifecycle).request("/");
    assertEquals([healthResponse.status, await healthResponse.json()], [status, { status: says }]);

    const app = new Hono();
    app.onError(errorHandler(silentLogger()));
    app.use(lifecycle.gate());
    app.get("/", (c) => c.text("in"));
    const response = await app.request("/");
    assertEquals(response.status, status);
    if (status === 200) return;
    const { error } = await response.json();
    assertEquals([error.type, error.code], ["unavailable_error", state]);
    assertEquals(Number(response.headers.get("retry-after-ms")) > 0, true);
  });
}

Deno.test("a server that was ready and has failed says so", async () => {
  const lifecycle = new Lifecycle();
  let failed = false;
  lifecycle.hasFailed = () => failed;
  lifecycle.state = "ready";
  assertEquals((await health(lifecycle).request("/")).status, 200);
  failed = true;
  assertEquals(lifecycle.refusal()?.code, "failed");
  assertEquals((await health(lifecycle).request("/")).status, 503);
  lifecycle.state = "draining"; // a failed server can still end
  assertEquals(lifecycle.refusal()?.code, "draining");
});

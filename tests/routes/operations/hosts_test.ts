import { assertEquals } from "@std/assert";
import { Hono } from "hono";
import { errorHandler } from "../../../routes/errors.ts";
import { hostCheck } from "../../../routes/operations/hosts.ts";
import { silentLogger } from "../../support/logger.ts";

async function statusOf(host: string | undefined, allowed: string[]): Promise<number> {
  const app = new Hono();
  app.onError(errorHandler(silentLogger()));
  app.use(hostCheck(allowed));
  app.get("/", (c) => c.text("in"));
  const headers: HeadersInit = host === undefined ? {} : { host };
  return (await app.request("http://127.0.0.1/", { headers })).status;
}

const CASES: readonly [host: string | undefined, allowed: string[], status: number][] = [
  ["localhost", [], 200],
  ["localhost:8080", [], 200],
  ["LOCALHOST:1", [], 200],
  ["127.0.0.1:8080", [], 200],
  ["[::1]:8080", [], 200],
  ["evil.example", [], 403],
  ["evil.example:8080", [], 403],
  ["localhost.evil.example", [], 403],
  ["127.0.0.1.evil.example", [], 403],
  ["localhost:8080@evil.example", [], 403],
  ["", [], 403],
  [undefined, [], 403],
  ["gpt.example", ["gpt.example"], 200],
  ["gpt.example:443", ["GPT.example"], 200],
  ["other.example", ["gpt.example"], 403],
  ["anything.example", ["*"], 200],
];

for (const [host, allowed, status] of CASES) {
  Deno.test(`hostCheck() answers host ${host} with ${status}, allowed: [${allowed}]`, async () => {
    assertEquals(await statusOf(host, allowed), status);
  });
}

import { assertEquals } from "@std/assert";
import { Hono } from "hono";
import { errorHandler } from "../../../routes/errors.ts";
import { requireScope } from "../../../routes/operations/auth.ts";
import { ApiKeys } from "../../../src/config/api_keys.ts";
import { silentLogger } from "../../support/logger.ts";

const made = new ApiKeys().create("reader", ["feedback:read"], 0);
const reader = made.text;
const infer = made.keys.create("app", ["infer"], 0);
const admin = infer.keys.create("root", ["admin"], 0);
const keys = admin.keys;

function app(current: ApiKeys | undefined): Hono {
  const app = new Hono();
  app.onError(errorHandler(silentLogger()));
  app.use(requireScope(() => Promise.resolve(current), "infer"));
  app.get("/", (c) => c.text(c.get("apiKey")?.name ?? "nobody"));
  return app;
}

const CASES: readonly {
  name: string;
  header: string | undefined;
  status: number;
  code?: string;
  says?: string;
}[] = [
  { name: "no header", header: undefined, status: 401, code: "invalid_api_key" },
  { name: "an empty key", header: "Bearer ", status: 401, code: "invalid_api_key" },
  { name: "another scheme", header: `Basic ${infer.text}`, status: 401, code: "invalid_api_key" },
  { name: "an unknown key", header: "Bearer brachio-x", status: 401, code: "invalid_api_key" },
  {
    name: "a key without the scope",
    header: `Bearer ${reader}`,
    status: 403,
    code: "insufficient_scope",
  },
  { name: "a key with it", header: `Bearer ${infer.text}`, status: 200, says: "app" },
  { name: "a scheme in small letters", header: `bearer ${infer.text}`, status: 200, says: "app" },
  { name: "an admin's", header: `Bearer ${admin.text}`, status: 200, says: "root" },
];

for (const { name, header, status, code, says } of CASES) {
  Deno.test(`requireScope() answers ${name} with ${status}`, async () => {
    const headers: HeadersInit = header === undefined ? {} : { authorization: header };
    const response = await app(keys).request("/", { headers });
    assertEquals(response.status, status);
    if (says !== undefined) assertEquals(await response.text(), says);
    else {
      const { error } = await response.json();
      assertEquals(error.code, code);
      assertEquals(Object.keys(error).sort(), ["code", "message", "param", "type"]);
    }
  });
}

Deno.test("requireScope() lets everybody through where no keys are asked for", async () => {
  const response = await app(undefined).request("/");
  assertEquals([response.status, await response.text()], [200, "nobody"]);
});

Deno.test("requireScope() lets nobody through where there are no keys yet", async () => {
  assertEquals((await app(new ApiKeys()).request("/")).status, 401);
});

import { assert, assertEquals } from "@std/assert";
import { ApiKeys, mayDo } from "../../src/config/api_keys.ts";

Deno.test("ApiKeys.create() makes keys that find() knows and the file does not", () => {
  const first = new ApiKeys().create("ada", ["infer", "infer"], 0);
  const { keys, key, text } = first.keys.create("bob", ["admin"], 1);
  assertEquals(first.key.scopes, ["infer"]);
  assertEquals(key.createdAt, "1970-01-01T00:00:00.001Z");
  assert(/^brachio-[A-Za-z0-9_-]{43}$/.test(text), text);
  assert(first.text !== text);
  assertEquals(keys.find(text)?.id, key.id);
  assertEquals(keys.find(first.text)?.id, first.key.id);
  for (const wrong of ["", "brachio-", text.slice(0, -1), text + "A", text.toUpperCase()]) {
    assertEquals(keys.find(wrong), undefined);
  }
  assert(!keys.toJson().includes(text.slice(-43)));
});

Deno.test("ApiKeys.revoke() takes one key away", () => {
  const first = new ApiKeys().create("ada", ["infer"], 0);
  const second = first.keys.create("bob", ["infer"], 0);
  const left = second.keys.revoke(first.key.id)!;
  assertEquals(left.find(first.text), undefined);
  assertEquals(left.find(second.text)?.name, "bob");
  assertEquals(left.revoke(first.key.id), undefined);
});

Deno.test("mayDo() knows that admin may do all", () => {
  assert(mayDo({ scopes: ["infer"] }, "infer"));
  assert(!mayDo({ scopes: ["infer", "feedback:read"] }, "feedback:write"));
  assert(!mayDo({ scopes: ["feedback:write"] }, "admin"));
  assert(mayDo({ scopes: ["admin"] }, "feedback:write"));
});

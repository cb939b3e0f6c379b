import { assertEquals, assertMatch } from "@std/assert";
import { judge, parseSummary } from "../../src/cli/test.ts";

Deno.test("parseSummary() reads the last closing line, with and without colours", () => {
  const plain =
    "ok | 1 passed | 0 failed (5ms)\n\nFAILED | 12 passed (3 steps) | 2 failed (1 step) (9s)\n";
  assertEquals(parseSummary(plain), { ok: false, passed: 12, failed: 2, ignored: 0 });
  const coloured =
    "\x1b[0m\x1b[32mok\x1b[0m | 3 passed | 0 failed | 2 ignored | 1 filtered out \x1b[0m(3ms)\x1b[0m\n";
  assertEquals(parseSummary(coloured), { ok: true, passed: 3, failed: 0, ignored: 2 });
  assertEquals(parseSummary("error: Uncaught\nit is ok | 3 passed | 0 failed"), undefined);
});

const good = { ok: true, passed: 3, failed: 0, ignored: 0 };
const bad = { ok: false, passed: 3, failed: 1, ignored: 0 };

Deno.test("judge() takes results that were printed, and nothing else, for results", () => {
  assertEquals(judge(good, { code: 0, signal: null }).summary, good);
  assertEquals(judge(bad, { code: 1, signal: null }).summary, bad);
  assertEquals(judge(undefined, { code: 0, signal: null }).summary.failed, 1);
  assertEquals(judge(undefined, { code: 134, signal: "SIGABRT" }).summary.failed, 1);
});

Deno.test("judge() forgives an abort after good results only", () => {
  assertEquals(judge(good, { code: 134, signal: "SIGABRT" }).summary, good);
  assertMatch(judge(good, { code: 134, signal: "SIGABRT" }).note ?? "", /aborted/);
  assertEquals(judge(bad, { code: 134, signal: "SIGABRT" }).summary, bad);
  assertEquals(judge(good, { code: 1, signal: null }).summary.failed, 1);
  assertEquals(judge(good, { code: 139, signal: "SIGSEGV" }).summary.failed, 1);
  assertEquals(judge({ ...bad, failed: 0 }, { code: 1, signal: null }).summary.failed, 1);
});

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { AuditLog } from "../../src/run/audit.ts";
import { withFolder } from "../support/files.ts";
import { systemTest } from "../support/system.ts";

const entry = (run: string) => ({ event: "version.served", run, by: "test", detail: { to: 3 } });

systemTest("entries come back, the newest first, whoever wrote them", async () => {
  await withFolder(async (root) => {
    const path = `${root}/audit.jsonl`;
    const log = new AuditLog(path, () => 1_700_000_000_000);
    assertEquals(await log.list(9), []);
    const heard: string[] = [];
    log.listen(({ run }) => heard.push(run));
    log.append(entry("a"));
    new AuditLog(path).append(entry("b"));
    log.append(entry("c"));
    assertEquals(heard, ["a", "c"]);
    assertEquals((await log.list(2)).map(({ run }) => run), ["c", "b"]);
    const [, , first] = await log.list(9);
    assertEquals(first, { time: "2023-11-14T22:13:20.000Z", ...entry("a") });
  });
});

systemTest("a line that a crash cut off is passed over, and the next one is whole", async () => {
  await withFolder(async (root) => {
    const path = `${root}/audit.jsonl`;
    const log = new AuditLog(path);
    log.append(entry("a"));
    await Deno.writeTextFile(path, '{"time":"2026', { append: true });
    log.append(entry("b"));
    assertEquals((await log.list(9)).map(({ run }) => run), ["b", "a"]);
  });
});

systemTest("what cannot be written or read says so", async () => {
  await withFolder(async (root) => {
    const log = new AuditLog(root);
    assertThrows(() => log.append(entry("a")), CannotError, "want a file");
    await assertRejects(() => log.list(1), CannotError, "want a readable file");
  });
});

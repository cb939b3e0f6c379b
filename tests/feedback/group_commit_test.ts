import { assertEquals, assertRejects } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { GroupCommit } from "../../src/feedback/group_commit.ts";

/** Counts the commits of a table of distinct texts. */
function opened(mostWaitMs?: number) {
  const database = new DatabaseSync(":memory:");
  database.exec("CREATE TABLE t (x TEXT PRIMARY KEY)");
  const insert = database.prepare("INSERT INTO t VALUES (?)");
  let begun = 0;
  const exec = database.exec.bind(database);
  database.exec = (sql) => {
    if (sql.startsWith("BEGIN")) begun++;
    exec(sql);
  };
  const group = new GroupCommit<string, number>(database, {
    write(text) {
      insert.run(text);
      return text.length;
    },
    ...(mostWaitMs === undefined ? {} : { mostWaitMs }),
  });
  const rows = () =>
    database.prepare("SELECT x FROM t ORDER BY x").all().map(({ x }) => x as string);
  return { group, rows, commits: () => begun, [Symbol.dispose]: () => database.close() };
}

Deno.test("what comes in one turn shares a commit, and each has its own result", async () => {
  using it = opened();
  assertEquals(await Promise.all(["a", "bb", "ccc"].map((text) => it.group.add(text))), [1, 2, 3]);
  assertEquals(it.commits(), 1);
  await it.group.add("dddd");
  assertEquals([it.commits(), it.rows()], [2, ["a", "bb", "ccc", "dddd"]]);
});

Deno.test("nothing is acknowledged before its commit", async () => {
  using it = opened(5);
  let done = false;
  const added = it.group.add("a").then(() => done = true);
  await Promise.resolve();
  assertEquals([done, it.rows()], [false, []]);
  it.group.flush();
  assertEquals(it.rows(), ["a"]);
  await added;
});

Deno.test("the one at fault fails alone", async () => {
  using it = opened();
  const results = await Promise.allSettled(["a", "b", "a"].map((text) => it.group.add(text)));
  assertEquals(results.map(({ status }) => status), ["fulfilled", "fulfilled", "rejected"]);
  assertEquals(it.rows(), ["a", "b"]);
});

Deno.test("closing commits what waits, and takes no more", async () => {
  using it = opened();
  const added = it.group.add("a");
  it.group.close();
  assertEquals(await added, 1);
  await assertRejects(() => it.group.add("b"), Error, "closed");
  assertEquals(it.rows(), ["a"]);
});

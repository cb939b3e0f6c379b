import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "node:path";
import { CannotError } from "../../src/config/cannot.ts";
import { type CompletionRecord, CompletionStore } from "../../src/feedback/completion_store.ts";
import { openDatabase } from "../../src/feedback/database.ts";
import { start, withFolder } from "../support/files.ts";
import { ROOT, systemTest } from "../support/system.ts";

systemTest("a completion that was acknowledged outlives kill -9", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "brachio.sqlite");
    const script = new URL("tests/support/completion_writer.ts", ROOT);
    for (const delayMs of [30, 110, 200]) {
      const child = start(script, [path]);
      let text = "";
      let killed = false;
      for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
        text += piece;
        if (killed) continue;
        killed = true;
        setTimeout(() => child.kill("SIGKILL"), delayMs);
      }
      assertEquals((await child.status).signal, "SIGKILL");
      const acknowledged = text.split("\n").slice(0, -1); // the last line may be half a line
      assert(acknowledged.length >= 20, `${acknowledged.length} saves before the end`);

      const database = openDatabase(path);
      assertEquals(database.prepare("PRAGMA integrity_check").get()!.integrity_check, "ok");
      const store = new CompletionStore(database);
      for (const id of acknowledged) assertEquals(store.find(id)?.text, "four", id);
      while (store.expire(1e15) > 0); // room for the next round
      assertEquals(store.totalBytes, 0);
      database.close();
    }
  });
});

systemTest("two processes' connections share one database", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "brachio.sqlite");
    const databases = [openDatabase(path), openDatabase(path)];
    const stores = databases.map((database) => new CompletionStore(database));
    const of = (id: string): CompletionRecord => ({
      id,
      kind: "completion",
      created: 0,
      model: "",
      weightsHash: "",
      promptIds: [1, 2, 3],
      prompt: undefined,
      text: "four",
      tokenIds: [4],
      logProbabilities: [-1],
      sampling: {},
      maxTokens: 1,
      finishReason: "stop",
    });
    await Promise.all(stores.flatMap((store, i) => ["a", "b"].map((id) => store.save(of(id + i)))));
    for (const store of stores) {
      for (const id of ["a0", "b0", "a1", "b1"]) assert(store.find(id), id);
    }
    for (const database of databases) database.close();
  });
});

systemTest("openDatabase() refuses what is not a database of this program", async () => {
  await withFolder((folder) => {
    const newer = join(folder, "newer.sqlite");
    const database = openDatabase(newer);
    database.exec("PRAGMA user_version = 999");
    database.close();
    assertThrows(() => openDatabase(newer), CannotError, "a newer version of the program made it");

    const text = join(folder, "text.sqlite");
    Deno.writeTextFileSync(text, "not a database, ".repeat(100));
    assertThrows(() => openDatabase(text), CannotError, "file is not a database");
    assertEquals(Deno.readTextFileSync(text).length, 1600);
    assertThrows(() => openDatabase(join(folder, "no", "x")), CannotError, "unable to open");
  });
});

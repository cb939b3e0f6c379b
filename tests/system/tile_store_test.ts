import { assertEquals } from "@std/assert";
import { FileTileStore } from "../../src/run/tile_store.ts";

Deno.test("FileTileStore keeps choices by adapter and survives a broken file", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const store = new FileTileStore(`${folder}/tiles`);
    assertEquals(await store.load("A GPU (1)"), undefined);
    await store.save("A GPU (1)", { "nn few": "64x64" });
    await store.save("Another", { "nn few": "128x128" });
    assertEquals(await store.load("A GPU (1)"), { "nn few": "64x64" });
    await Deno.writeTextFile(`${folder}/tiles/a-gpu-1.json`, "{");
    assertEquals(await store.load("A GPU (1)"), undefined);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

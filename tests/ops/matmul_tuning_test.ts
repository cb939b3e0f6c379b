import { assertEquals, assertRejects } from "@std/assert";
import {
  fastestTile,
  type TileChoices,
  type TimedProduct,
  tuneMatmul,
  workingTiles,
} from "../../src/ops/matmul_tuning.ts";
import { type Tile, TILE_CLASSES, TILES } from "../../src/ops/matmul_tile.ts";
import { gpuTest, testDevice } from "../support/gpu.ts";

gpuTest("tuneMatmul() takes what was chosen before, and leaves a processor alone", async () => {
  // A device of its own: choices stay with a device.
  const device = await testDevice({ tuning: "gpu", limits: { maxBufferSize: 1 << 28 } });
  const kinds = ["nn", "nt", "tn"].flatMap((layout) =>
    TILE_CLASSES.map((size) => `${layout} ${size}`)
  );
  const kept = Object.fromEntries(kinds.map((kind) => [kind, TILES.at(-1)!.name]));
  const saved: TileChoices[] = [];
  const store = {
    load: () => Promise.resolve(kept),
    save: (_: string, choices: TileChoices) => Promise.resolve(void saved.push(choices)),
  };
  assertEquals(await tuneMatmul(device, store), kept);
  assertEquals(saved, []);
  assertEquals(await tuneMatmul(await testDevice({ tuning: "processor" }), store), {});
});

/** Tiles of a device of its own that were timed are forgotten with it. */
const OWN = { tuning: "gpu", limits: { maxBufferSize: 1 << 28 } } as const;

/** A tile under another name, with other constants. */
function broken(name: string, constants: Record<string, number>): Tile {
  const tile = TILES.at(-1)!;
  return { ...tile, name, tune: { ...tile.tune, ...constants } };
}

gpuTest("workingTiles() leaves out tiles that do not compile", async (device) => {
  const good = TILES.at(-1)!;
  const bad = [broken("unknown constant", { NONE: 1 }), broken("no threads", { THREADS: 0 })];
  for (const layout of ["nn", "nt", "tn"] as const) {
    assertEquals(await workingTiles(device, layout, [bad[0]!, good, bad[1]!]), [good]);
    await assertRejects(
      () => workingTiles(device, layout, bad),
      Error,
      `Cannot tune matmul_${layout}: a tile that works: none of 2 does`,
    );
  }
}, OWN);

for (const timestamps of [true, false]) {
  const suffix = timestamps ? "" : " without a clock on the device";
  gpuTest(`fastestTile() leaves a tile that computes twice as much${suffix}`, async () => {
    const device = await testDevice({ ...OWN, fast: !timestamps });
    if (!timestamps) (device.features as Set<string>).delete("timestamp-query");
    const [small, large] = [TILES.at(-1)!, TILES[0]!];
    assertEquals([small.rows, large.rows], [64, 128]);
    // Of 64 rows a tile of 128 wastes half; enough columns to fill a large adapter, and terms that take
    // it longer than the host takes for a dispatch.
    const product: TimedProduct = { layout: "nn", size: "some", M: 64, N: 1 << 14, K: 512 };
    assertEquals(await fastestTile(device, product, [large]), large); // makes what stays
    const before = device.liveBuffers;
    assertEquals((await fastestTile(device, product, [large, small])).name, small.name);
    assertEquals(device.liveBuffers, before);
  });
}

// Kernels without subgroups, so that other subgroup sizes need not see them: in a folder of their
// own.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  fastestTile,
  type TileChoices,
  type TimedProduct,
  tuneMatmul,
  workingTiles,
} from "../../src/ops/matmul_tuning.ts";
import { setTiles, type Tile, TILE_CLASSES, TILES, tilesFor } from "../../src/ops/matmul_tile.ts";
import type { Device } from "../../src/gpu/device.ts";
import { gpuTest, testDevice } from "../support/gpu.ts";

/** Tiles of a device of its own that were timed are forgotten with it. */
const OWN = own(0);

/** Options that no other test of this file has, so that it may change the device. */
function own(index: number) {
  return { tuning: "gpu", limits: { maxBufferSize: (1 << 28) + 256 * index } } as const;
}

gpuTest("tuneMatmul() takes what was chosen before, and leaves a processor alone", async () => {
  const device = await testDevice(OWN);
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

gpuTest("tuneMatmul() chooses what the store lacks and keeps what it has", async () => {
  const device = await testDevice(own(1));
  // Three small tiles, as if the adapter had no memory for more: a software driver is slow.
  const maxComputeWorkgroupStorageSize = 12 << 10;
  Object.defineProperty(device, "limits", {
    value: { ...limitsOf(device), maxComputeWorkgroupStorageSize },
  });
  const fits = tilesFor(device);
  assertEquals(fits.length, 3);
  const kept: Record<string, string> = {};
  for (const layout of ["nn", "nt", "tn"]) {
    for (const size of TILE_CLASSES) kept[`${layout} ${size}`] = fits[0]!.name;
  }
  delete kept["nn some"];
  const saved: TileChoices[] = [];
  const choices = await tuneMatmul(device, {
    load: () => Promise.resolve(kept),
    save: (_, all) => Promise.resolve(void saved.push(all)),
  });
  const { "nn some": made, ...rest } = choices;
  assertEquals(rest, kept);
  assert(fits.some(({ name }) => name === made), made);
  assertEquals(saved, [choices]);
  for (const [kind, name] of Object.entries(choices)) {
    assertEquals(setTiles(device, kind, undefined)?.name, name, kind); // the one that was set
  }
});

/** The limits as an object of its own; they lie on a prototype. */
function limitsOf({ limits }: Device): Record<string, number> {
  const names = Object.keys(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(limits)));
  const entries = names.map((name) => [name, limits[name as keyof GPUSupportedLimits]]);
  return Object.fromEntries(entries.filter(([, value]) => typeof value === "number"));
}

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

gpuTest("workingTiles() leaves out a tile that fails where K has a rest", async () => {
  const device = await testDevice(own(2));
  const create = device.gpu.createShaderModule.bind(device.gpu);
  const [good, bad] = [TILES.at(-1)!, TILES[3]!];
  let refused = 0;
  device.gpu.createShaderModule = (descriptor) => {
    const has = (text: string) => descriptor.code.includes(text);
    const refuses = has("const REST: u32 = 1u;") &&
      has(`const THREADS: u32 = ${bad.tune.THREADS}u;`);
    if (!refuses) return create(descriptor);
    refused++;
    return create({ ...descriptor, code: "no WGSL" });
  };
  assertEquals([good.tune.THREADS, bad.tune.THREADS], [64, 128]);
  assertEquals(await workingTiles(device, "nn", [good, bad]), [good]);
  assertEquals(refused, 1);
});

gpuTest("tiles that are only tried are not left set", async (device) => {
  const [good, before] = [TILES.at(-1)!, TILES[3]!];
  const bad = broken("unknown constant", { NONE: 1 });
  const product: TimedProduct = { layout: "nn", size: "few", M: 64, N: 64, K: 64 };
  for (const tile of [before, undefined]) {
    setTiles(device, "nn few", tile);
    await workingTiles(device, "nn", [bad, good]);
    assertEquals(setTiles(device, "nn few", tile), tile);
    await fastestTile(device, product, [good]);
    assertEquals(setTiles(device, "nn few", tile), tile);
    await assertRejects(() => fastestTile(device, product, [good, bad]), RangeError, `"NONE"`);
    assertEquals(setTiles(device, "nn few", tile), tile);
  }
}, OWN);

for (const timestamps of [true, false]) {
  const suffix = timestamps ? "" : " without a clock on the device";
  gpuTest(`fastestTile() leaves a tile that computes twice as much${suffix}`, async () => {
    const device = await testDevice({ ...OWN, fast: !timestamps });
    if (!timestamps) (device.features as Set<string>).delete("timestamp-query");
    const [small, large] = [TILES.at(-1)!, TILES[0]!];
    assertEquals([small.rows, large.rows], [64, 128]);
    // Of 64 rows a tile of 128 wastes half; enough columns to fill a large adapter, and terms that
    // take it longer than the host takes for a dispatch.
    const product: TimedProduct = { layout: "nn", size: "some", M: 64, N: 1 << 14, K: 512 };
    assertEquals(await fastestTile(device, product, [large]), large); // makes what stays
    const before = device.liveBuffers;
    assertEquals((await fastestTile(device, product, [large, small])).name, small.name);
    assertEquals(device.liveBuffers, before);
  });
}

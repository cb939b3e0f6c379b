// Kernels without subgroups, so that other subgroup sizes need not see them: in a folder of their
// own.
import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import type { Layout } from "../../src/ops/matmul.ts";
import { setTiles, type Tile, TILE_CLASSES, TILES, tilesFor } from "../../src/ops/matmul_tile.ts";
import { gpuTest, testDevice } from "../support/gpu.ts";
import { bits, check, type ProductCase, run } from "../support/product.ts";

/** A device of its own, as tiles that were set stay with a device. */
const OWN = { tuning: "gpu", limits: { maxBufferSize: 1 << 28 } } as const;

/** Makes all products of a layout take a tile. */
function takeTile(device: Device, layout: Layout, tile: Tile): void {
  for (const size of TILE_CLASSES) setTiles(device, `${layout} ${size}`, tile);
}

/** What fills up to a multiple of four. */
const rest = (count: number) => (4 - count % 4) % 4;

/**
 * Edges within a four, a tile and beyond one, amid margins; K of whole goes, of none, and between.
 */
function cases(layout: Layout, f16: boolean): ProductCase[] {
  const terms = layout === "nt" ? [4, 20, 40, 44, 48] : [1, 15, 17, 40, 48];
  return terms.flatMap((K) =>
    ([[5, 132], [130, 4]] as const).map(([M, N]): ProductCase => ({
      ...{ layout, M, N, K, f16, outMargin: [4, 8] },
      aMargin: [4, rest(layout === "tn" ? M : K)],
      ...(layout === "nn" ? { bias: true } : {}),
    }))
  );
}

const KINDS = [["nn", false], ["nt", false], ["tn", false], ["nn", true], ["nt", true]] as const;

for (const [layout, f16] of KINDS) {
  const name = `matmul_${layout}()${f16 ? " of halves" : ""}`;
  gpuTest(`${name} has the same bits by every tile`, async (device) => {
    const portable = await testDevice({ subgroups: false });
    const all = cases(layout, f16);
    const wanted = [];
    for (const test of all) wanted.push((await run(portable, test)).out);
    for (const tile of tilesFor(device)) {
      takeTile(device, layout, tile);
      for (const [index, test] of all.entries()) {
        const { out, labels } = await run(device, test);
        assert(labels[0]!.startsWith(`matmul_tile_${layout}`), `computed by ${labels}`);
        const { M, N, K } = test;
        assertEquals(bits(out), bits(wanted[index]!), `(${M}, ${N}, ${K}) by ${tile.name}`);
      }
    }
  }, OWN);
}

gpuTest("matmulTn() sums the columns of b by every tile", async (device) => {
  const portable = await testDevice({ subgroups: false });
  const test: ProductCase = { layout: "tn", M: 136, N: 132, K: 53, columnSum: true };
  test.accumulate = true;
  const want = await run(portable, test);
  for (const tile of tilesFor(device)) {
    takeTile(device, "tn", tile);
    const { out, columnSum } = await run(device, test);
    assertEquals(bits(out), bits(want.out), tile.name);
    assertEquals(bits(columnSum!), bits(want.columnSum!), tile.name);
  }
}, OWN);

gpuTest("slices have the same bits by every tile", async (device) => {
  // Three slices of 272 terms and one of 214: whole goes, and 6 terms.
  const test: ProductCase = { layout: "tn", M: 70, N: 36, K: 1030, sharesTerms: true };
  Object.assign(test, { aMargin: [0, 2], accumulate: true, columnSum: true });
  let want: Awaited<ReturnType<typeof run>> | undefined;
  for (const tile of tilesFor(device)) {
    takeTile(device, "tn", tile);
    const got = await run(device, test);
    assertEquals(got.labels, ["matmul_tile_tn", "matmul_slices"]);
    if (!want) await check(device, test);
    want ??= got;
    assertEquals(bits(got.out), bits(want.out), tile.name);
    assertEquals(bits(got.columnSum!), bits(want.columnSum!), tile.name);
  }
}, OWN);

Deno.test("tiles have names of their own and divide among their threads", () => {
  assertEquals(new Set(TILES.map(({ name }) => name)).size, TILES.length);
  for (const { name, rows, columns, tune, memoryBytes } of TILES) {
    const { THREADS, WIDE, RG, CG, TERMS, BUFFERS, GOES } = tune as Record<string, number>;
    assertEquals([4 * RG! * THREADS! / WIDE!, 4 * CG! * WIDE!], [rows, columns], name);
    // Whole vec4s a thread, of rows that no two threads share; warps of 8 x 4 threads.
    for (const side of [rows, columns]) assertEquals(side * TERMS! / 4 % THREADS!, 0, name);
    assertEquals([WIDE! % 8, THREADS! / WIDE! % 4, TERMS! % 4], [0, 0, 0], name);
    assert(BUFFERS! >= GOES! && memoryBytes <= 48 << 10, name);
  }
  assert(TILES.some(({ memoryBytes }) => memoryBytes <= 16 << 10));
});

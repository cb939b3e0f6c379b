import { assertEquals } from "@std/assert";
import { type TileChoices, tuneMatmul } from "../../src/ops/matmul_tuning.ts";
import { TILES } from "../../src/ops/matmul_tile.ts";
import { gpuTest, testDevice } from "../support/gpu.ts";

gpuTest("tuneMatmul() takes what was chosen before, and leaves a processor alone", async () => {
  // A device of its own: choices stay with a device.
  const device = await testDevice({ tuning: "gpu", limits: { maxBufferSize: 1 << 28 } });
  const kinds = ["nn", "nt", "tn"].flatMap((layout) =>
    ["few", "some", "many"].map((size) => `${layout} ${size}`)
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

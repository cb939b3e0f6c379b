import { assertEquals, assertThrows } from "@std/assert";
import { bytesPerToken, KeyValueCache } from "../../src/infer/cache.ts";
import { PRESETS } from "../../src/model/config.ts";
import { gpuTest } from "../support/gpu.ts";

const CONFIG = { ...PRESETS["shakespeare-char-cpu"], layers: 2, contextLength: 70 };

gpuTest("KeyValueCache hands blocks out and takes them back", async (device) => {
  const cache = new KeyValueCache(device, CONFIG, { sequences: 2, tokens: 96 });
  assertEquals(cache.layers.map(({ keys }) => keys.shape), [[96, 128], [96, 128]]);
  assertEquals(cache.table.shape, [2, 5]);
  assertEquals(cache.freeBlocks, 6);
  assertEquals([cache.open(), cache.open(), cache.open()], [0, 1, undefined]);
  assertEquals([cache.reserve(0, 17), cache.reserve(0, 3), cache.freeBlocks], [true, true, 4]);
  assertEquals([cache.reserve(1, 64), cache.freeBlocks], [true, 0]);
  assertEquals([cache.reserve(0, 32), cache.reserve(0, 33)], [true, false], "none is free");
  const table = await device.readU32(cache.table);
  const used = [...table.subarray(0, 2), ...table.subarray(5, 9)];
  assertEquals(used.sort((a, b) => a - b), [0, 1, 2, 3, 4, 5], "each block has one owner");
  cache.close(1);
  cache.close(1);
  assertEquals([cache.freeBlocks, cache.reserve(0, 70), cache.open()], [4, true, 1]);
  assertThrows(() => cache.reserve(0, 71), RangeError, "at most 70 tokens: got 71");
  cache.close(0);
  cache.close(1);
  assertEquals(cache.freeBlocks, 6);
  assertThrows(() => cache.reserve(0, 1), RangeError, "got none that is open");
  cache.destroy();
});

Deno.test("bytesPerToken() is keys and values of every layer", () => {
  assertEquals(bytesPerToken(PRESETS.gpt2), 12 * 2 * 768 * 4);
});

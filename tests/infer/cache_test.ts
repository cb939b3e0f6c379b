import { assertEquals, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { bytesPerToken, cacheBlocks, KeyValueCache } from "../../src/infer/cache.ts";
import { PRESETS } from "../../src/model/config.ts";
import { gpuTest } from "../support/gpu.ts";

const CONFIG = { ...PRESETS["shakespeare-char-cpu"], layers: 2, contextLength: 70 };

/** An adapter of which only the size of a binding is known. */
const adapter = (bytes: number) =>
  ({ limits: { maxStorageBufferBindingSize: bytes } }) as Parameters<typeof cacheBlocks>[0];

Deno.test("bytesPerToken() is keys and values of every layer", () => {
  assertEquals(bytesPerToken(PRESETS.gpt2), 12 * 2 * 768 * 4);
  assertEquals(bytesPerToken(PRESETS.gpt2, "f16"), 12 * 2 * 768 * 2);
});

Deno.test("cacheBlocks() holds a context for each text, within the budget and a binding", () => {
  const large = adapter(2 ** 31);
  assertEquals(cacheBlocks(large, CONFIG, { slots: 3 }), 3 * 5);
  const block = 16 * bytesPerToken(CONFIG);
  assertEquals(cacheBlocks(large, CONFIG, { slots: 3, cacheBytes: 7.9 * block }), 7);
  assertEquals(cacheBlocks(large, CONFIG, { slots: 1, cacheBytes: 99 * block }), 99);
  assertEquals(cacheBlocks(large, PRESETS.gpt2, { slots: 64 }), Math.floor(2 ** 30 / 1_179_648));
  assertEquals(cacheBlocks(adapter(2 ** 25), PRESETS.gpt2, { slots: 64 }), 682);
  const half = { slots: 64, dtype: "f16" } as const;
  assertEquals(cacheBlocks(large, PRESETS.gpt2, half), Math.floor(2 ** 30 / 589_824));
  assertEquals(cacheBlocks(adapter(2 ** 25), PRESETS.gpt2, half), 1365);
  // A context of the largest is more than the default budget, and is granted.
  assertEquals(cacheBlocks(large, PRESETS["gpt3-13b"], { slots: 8 }), 128);
});

Deno.test("cacheBlocks() refuses what cannot hold a context or be bound, with need and limit", () => {
  const options = { slots: 1, cacheBytes: 1000 };
  const refuse = (bytes: number, size: typeof options, message: string) =>
    assertThrows(() => cacheBlocks(adapter(bytes), CONFIG, size), CannotError, message);
  refuse(2 ** 31, options, "want 163840 bytes or more, for a context of 70 tokens: got 1000");
  refuse(1000, options, "this adapter has 1000 (maxStorageBufferBindingSize)");
  refuse(2 ** 20, { slots: 1, cacheBytes: 2 ** 30 }, "want at most 4194304 bytes");
  assertThrows(
    () => cacheBlocks(adapter(2 ** 31), { ...CONFIG, channels: 3 }, { slots: 1, dtype: "f16" }),
    CannotError,
    "want an even number of channels for one of f16: the model has 3",
  );
});

gpuTest("KeyValueCache has a table of the blocks of each text", async (device) => {
  const cache = new KeyValueCache(device, CONFIG, { texts: 2, blocks: 6 });
  assertEquals(cache.layers.map(({ keys }) => keys.shape), [[96, 128], [96, 128]]);
  cache.assign(1, [5, 3], 0);
  cache.assign(0, [2], 0);
  cache.assign(1, [4], 2);
  cache.assign(1, [], 3);
  const table = await device.readU32(cache.table);
  assertEquals([...table], [2, 0, 0, 0, 0, 5, 3, 4, 0, 0]);
  cache.destroy();
});

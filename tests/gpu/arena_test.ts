import { assertEquals, assertThrows } from "@std/assert";
import { Arena, layoutArena, parameter, shardedParameter } from "../../src/gpu/arena.ts";
import { gpuTest } from "../support/gpu.ts";

const ENTRIES = [
  { name: "bias", shape: [3], decay: false },
  { name: "wte", shape: [10, 100], decay: true },
  { name: "weight", shape: [8, 8], decay: true },
];

Deno.test("layoutArena() puts decayed tensors first, aligned, in few buffers", () => {
  const layout = layoutArena(ENTRIES, 1 << 20);
  assertEquals(layout.buffers, [{ count: 1024 + 64 + 64, decayed: 1024 + 64, dtype: "f32" }]);
  assertEquals(
    layout.windows.map(({ name, offset, count }) => [name, offset, count]),
    [["wte", 0, 1000], ["weight", 1024, 64], ["bias", 1088, 3]],
  );
});

Deno.test("layoutArena() keeps halves in buffers of their own, first", () => {
  const entries = [...ENTRIES, {
    name: "half",
    shape: [30, 10],
    decay: true,
    dtype: "f16",
  }] as const;
  const { buffers, windows } = layoutArena(entries, 512); // 256 halves: 25 rows
  assertEquals(
    windows.map(({ name, buffer, offset, count }) => [name, buffer, offset, count]).slice(0, 3),
    [["half", 0, 0, 250], ["half", 1, 0, 50], ["wte", 2, 0, 100]],
  );
  assertEquals(buffers.slice(0, 2), [
    { count: 256, decayed: 256, dtype: "f16" },
    { count: 128, decayed: 128, dtype: "f16" },
  ]);
  assertEquals(buffers[2]!.dtype, "f32");
});

Deno.test("layoutArena() splits a tensor larger than a binding by rows", () => {
  const layout = layoutArena(ENTRIES, 2048); // 512 elements: five rows of wte
  assertEquals(
    layout.windows.map(({ name, rowStart, shape, buffer }) => [name, rowStart, shape, buffer]),
    [["wte", 0, [5, 100], 0], ["wte", 5, [5, 100], 1], ["weight", 0, [8, 8], 2], [
      "bias",
      0,
      [3],
      2,
    ]],
  );
  assertEquals(layout.buffers.map(({ decayed }) => decayed), [512, 512, 64]);
});

Deno.test("layoutArena() splits GPT-2's embedding where a tile of logits ends", () => {
  const layout = layoutArena([{ name: "wte", shape: [50_304, 768], decay: true }], 2 ** 27);
  // 43,690 rows of it fit.
  assertEquals(layout.windows.map(({ shape }) => shape), [[43_648, 768], [6_656, 768]]);
});

Deno.test("layoutArena() refuses a name twice and a row that fits nowhere", () => {
  assertThrows(() => layoutArena([...ENTRIES, ENTRIES[0]!], 2048), RangeError, `"bias"`);
  assertThrows(() => layoutArena(ENTRIES, 256), RangeError, "a row has 400");
});

gpuTest("Arena: windows are parts of its buffers", async (device) => {
  const layout = layoutArena(ENTRIES, 2048);
  const values = new Arena(device, "values", layout);
  const grads = new Arena(device, "grads", layout);
  device.write(values.tensor("weight"), Float32Array.of(7), 63);
  assertEquals((await device.read(values.buffers[2]!))[63], 7);
  assertEquals(parameter("bias", values, grads).grad!.label, "grads.bias");
  assertEquals("grad" in parameter("bias", values), false);
  const wte = shardedParameter("wte", values, grads);
  assertEquals(wte.shape, [10, 100]);
  assertEquals(wte.windows.map(({ rowStart, rows }) => [rowStart, rows]), [[0, 5], [5, 5]]);
  assertThrows(() => values.tensor("wte"), RangeError, "it is split into 2");
  assertThrows(() => values.tensor("wtf"), RangeError, `Cannot find "wtf"`);
  values.destroy();
  grads.destroy();
});

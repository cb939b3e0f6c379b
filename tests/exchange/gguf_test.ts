import { assertEquals, assertRejects } from "@std/assert";
import { type GgufTensor, type GgufValue, writeGguf } from "../../src/exchange/gguf.ts";
import { readGguf } from "../support/gguf.ts";

async function written(
  metadata: Record<string, GgufValue>,
  tensors: GgufTensor[],
): Promise<Uint8Array> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  await writeGguf({ write: (bytes) => void pieces.push(bytes.slice()) }, metadata, tensors);
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}

Deno.test("writeGguf() writes what the format's description says, byte for byte", async () => {
  const x = { name: "x", dtype: "f16", shape: [2, 1], bytes: () => Float16Array.of(1, 2) } as const;
  const bytes = await written({ k: { u32: 7 } }, [x]);
  const want = [
    ...[0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0], // "GGUF", version
    ...[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], // tensors, keys
    ...[1, 0, 0, 0, 0, 0, 0, 0, 0x6b, 4, 0, 0, 0, 7, 0, 0, 0], // "k", u32, 7
    ...[1, 0, 0, 0, 0, 0, 0, 0, 0x78, 2, 0, 0, 0], // "x", dimensions
    ...[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], // 1, 2: the fastest first
    ...[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // f16, at byte 0
  ];
  const headBytes = Math.ceil(want.length / 32) * 32;
  assertEquals([...bytes.subarray(0, want.length)], want);
  assertEquals([...bytes.subarray(headBytes, headBytes + 4)], [0x00, 0x3c, 0x00, 0x40]);
  assertEquals(bytes.length, headBytes + 32);
});

Deno.test("writeGguf() keeps every kind of value and tensor, aligned", async () => {
  const log: string[] = [];
  const tensor = (name: string, data: Float32Array | Uint16Array, dtype: "f32" | "bf16") => ({
    name,
    dtype,
    shape: [1, data.length],
    bytes: () => {
      log.push(name);
      return data;
    },
  });
  const bytes = await written({
    "a.u32": { u32: 2 ** 32 - 1 },
    "a.f32": { f32: 1e-5 },
    "a.bool": { bool: true },
    "a.string": { string: "né\n" },
    "a.i32s": { i32s: [-1, 3] },
    "a.strings": { strings: ["", "Ġthe", "日本"] },
    "a.none": { strings: [] },
  }, [
    tensor("f", Float32Array.of(1, -2, 3.5), "f32"),
    tensor("b", Uint16Array.of(0x3f80), "bf16"),
    tensor("last", new Float32Array(8).fill(9), "f32"),
  ]);
  const { metadata, tensors } = readGguf(bytes);
  assertEquals(metadata, {
    "a.u32": 2 ** 32 - 1,
    "a.f32": Math.fround(1e-5),
    "a.bool": true,
    "a.string": "né\n",
    "a.i32s": [-1, 3],
    "a.strings": ["", "Ġthe", "日本"],
    "a.none": [],
  });
  assertEquals(log, ["f", "b", "last"]);
  assertEquals(tensors.get("f")!.dims, [3, 1]);
  assertEquals([...new Float32Array(tensors.get("f")!.bytes.buffer)], [1, -2, 3.5]);
  assertEquals([tensors.get("b")!.type, ...tensors.get("b")!.bytes], [30, 0x80, 0x3f]);
  assertEquals([...new Float32Array(tensors.get("last")!.bytes.buffer)], Array(8).fill(9));
});

Deno.test("writeGguf() refuses names twice and bytes that do not fit", async () => {
  const x: GgufTensor = { name: "x", dtype: "f32", shape: [1], bytes: () => new Float32Array(1) };
  await assertRejects(() => written({}, [x, x]), RangeError, 'got "x" again');
  await assertRejects(
    () => written({}, [{ ...x, shape: [2] }]),
    RangeError,
    "wants 8 bytes: got 4",
  );
});

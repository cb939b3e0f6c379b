import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import {
  type Dtype,
  ELEMENT_BYTES,
  parseSafetensors,
  serializeSafetensors,
  type TensorSource,
  writeSafetensors,
} from "../../src/run/safetensors.ts";
import { PhiloxStream } from "../../src/random/philox.ts";
import { integers } from "../support/random.ts";

const TENSORS: TensorSource[] = [
  { name: "b", dtype: "f32", shape: [2, 3], bytes: Float32Array.of(1, -2, 3.5, 0, 1e-8, NaN) },
  { name: "a", dtype: "f32", shape: [], bytes: Float32Array.of(7) },
  { name: "ids", dtype: "i64", shape: [2], bytes: BigInt64Array.of(-1n, 2n ** 62n) },
  { name: "0", dtype: "u32", shape: [1], bytes: Uint32Array.of(2 ** 32 - 1) },
  { name: "empty", dtype: "f16", shape: [0, 4], bytes: new Uint8Array(0) },
  { name: "half", dtype: "f16", shape: [3], bytes: Float16Array.of(0.5, -65504, 6e-8) },
  { name: "brain", dtype: "bf16", shape: [2], bytes: Uint16Array.of(0x3f80, 0xc049) },
  { name: 'q"\\ü', dtype: "u8", shape: [3], bytes: () => Uint8Array.of(1, 2, 3) },
];
const METADATA = { format: "pt", note: "ä\n" };

/** A file with this header text and so many bytes of data. */
function file(header: string | Uint8Array, dataBytes: number, length?: bigint): Uint8Array {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

function refusal(bytes: Uint8Array): string {
  const error = assertThrows(() => parseSafetensors(bytes, "model.safetensors"), CannotError);
  const head = "Cannot read model.safetensors: ";
  assert(error.message.startsWith(head), error.message);
  return error.message.slice(head.length);
}

const entry = (dtype: unknown, shape: unknown, offsets: unknown, more = {}) =>
  JSON.stringify({ dtype, shape, data_offsets: offsets, ...more });

Deno.test("Safetensors reads back what writeSafetensors() wrote", async () => {
  const read = parseSafetensors(await serializeSafetensors(TENSORS, { metadata: METADATA }));
  assertEquals(read.metadata, METADATA);
  assertEquals(read.tensors.size, TENSORS.length);
  for (const { name, dtype, shape, bytes } of TENSORS) {
    const info = read.info(name);
    assertEquals([info.dtype, info.shape], [dtype, shape]);
    const view = typeof bytes === "function" ? await bytes() : bytes;
    assertEquals(read.bytes(name), new Uint8Array(view.buffer.slice(0) as ArrayBuffer));
    assertEquals(info.offsetBytes % ELEMENT_BYTES[dtype], 0, `${name} is aligned`);
  }
  assertEquals(read.floats("half"), new Float32Array(Float16Array.of(0.5, -65504, 6e-8)));
  assertEquals(read.floats("brain"), Float32Array.of(1, -3.140625));
  assertEquals(read.floats("b", { start: 1, count: 2 }), Float32Array.of(-2, 3.5));
  assertEquals(read.floats("b", { start: 6 }), new Float32Array(0));
  assertThrows(() => read.floats("ids"), CannotError, "i64");
  assertThrows(() => read.bytes("none"), CannotError, 'want a tensor "none"');
  assertThrows(() => read.bytes("b", { start: 5, count: 2 }), RangeError, "within 6");
});

Deno.test("writeSafetensors() gives the same bytes for any order, aligned to 8", async () => {
  const want = await serializeSafetensors(TENSORS, { metadata: METADATA });
  const stream = new PhiloxStream(1);
  for (let round = 0; round < 5; round++) {
    const shuffled = stream.shuffle([...TENSORS]);
    const metadata = { note: METADATA.note, format: METADATA.format };
    assertEquals(await serializeSafetensors(shuffled, { metadata }), want);
  }
  const headerBytes = Number(new DataView(want.buffer).getBigUint64(0, true));
  assertEquals(headerBytes % 8, 0);
  const header = new TextDecoder().decode(want.subarray(8, 8 + headerBytes));
  assert(header.startsWith('{"__metadata__":{"format":"pt","note":"ä\\n"},"ids":'), header);
});

Deno.test("writeSafetensors() asks for one tensor at a time", async () => {
  const log: string[] = [];
  const lazy = ["x", "y"].map((name): TensorSource => ({
    name,
    dtype: "f32",
    shape: [1],
    bytes: () => {
      log.push(`ask ${name}`);
      return Promise.resolve(new Float32Array(1));
    },
  }));
  await writeSafetensors({
    write: (bytes) => void log.push(bytes.length === 4 ? "data" : "header"),
  }, lazy);
  assertEquals(log, ["header", "ask x", "data", "ask y", "data"]);
});

Deno.test("writeSafetensors() refuses names twice and bad shapes", async () => {
  const x = { name: "x", dtype: "f32", shape: [1], bytes: new Float32Array(1) } as const;
  const refused: [TensorSource[], string][] = [
    [[x, x], 'got "x" again'],
    [[{ ...x, name: "__metadata__" }], "__metadata__"],
    [[{ ...x, shape: [-1] }], "(-1)"],
    [[{ ...x, shape: [1.5] }], "(1.5)"],
    [[{ ...x, shape: [2] }], "wants 8 bytes: got 4"],
  ];
  for (const [tensors, message] of refused) {
    await assertRejects(() => serializeSafetensors(tensors), RangeError, message);
  }
});

Deno.test("Safetensors takes files as the format allows them", () => {
  const unordered = `{"b":${entry("U8", [2], [2, 4])},"a":${entry("U8", [2], [0, 2])}}   `;
  assertEquals([...parseSafetensors(file(unordered, 4)).tensors.keys()], ["a", "b"]);
  assertEquals(parseSafetensors(file("{}", 0)).tensors.size, 0);
  const empty = `{"e":${entry("F32", [0], [4, 4])},"a":${entry("F32", [1], [0, 4])}}`;
  assertEquals(parseSafetensors(file(empty, 4)).info("e").sizeBytes, 0);
});

Deno.test("Safetensors refuses a file cut off anywhere, or longer", async () => {
  const whole = await serializeSafetensors(TENSORS, { metadata: METADATA });
  for (let length = 0; length < whole.length; length++) refusal(whole.subarray(0, length));
  const longer = new Uint8Array(whole.length + 1);
  longer.set(whole);
  assertEquals(refusal(longer), "want 61 bytes of data: the file has 1 more");
  assertEquals(
    refusal(whole.subarray(0, -1)),
    "want 61 bytes of data: the file is cut off after 60",
  );
  assertEquals(
    refusal(whole.subarray(0, 5)),
    "want a header length of 8 bytes: the file has 5 bytes",
  );
});

Deno.test("Safetensors refuses every altered length, and never reads past the data", async () => {
  const whole = await serializeSafetensors(TENSORS, { metadata: METADATA });
  const headerBytes = Number(new DataView(whole.buffer).getBigUint64(0, true));
  const values = integers(3, 8 * 20, 255);
  for (let at = 0; at < 8; at++) {
    for (let k = 0; k < 20; k++) {
      const bytes = whole.slice();
      bytes[at]! ^= 1 + values[at * 20 + k]!;
      refusal(bytes);
    }
  }
  // A change of the header can make another valid one; then its layout still holds.
  let refused = 0;
  const flips = integers(4, headerBytes * 4, 255);
  for (let i = 0; i < flips.length; i++) {
    const bytes = whole.slice();
    bytes[8 + Math.floor(i / 4)]! ^= 1 + flips[i]!;
    try {
      const read = parseSafetensors(bytes);
      const total = [...read.tensors.values()].reduce((sum, info) => sum + info.sizeBytes, 0);
      assertEquals(total, whole.length - 8 - headerBytes);
      for (const name of read.tensors.keys()) read.bytes(name);
    } catch (error) {
      assert(error instanceof CannotError, String(error));
      refused++;
    }
  }
  assert(refused > flips.length * 0.7, `${refused} of ${flips.length} refused`);
});

Deno.test("Safetensors says what is wrong with a header", () => {
  const u8 = entry("U8", [4], [0, 4]);
  const cases: [string | Uint8Array, number, string, bigint?][] = [
    ["{}", 0, "want a header of at most 100000000 bytes: its length says 100000001", 100_000_001n],
    ["{}", 0, "want a header of at most", 2n ** 63n + 5n],
    ["{}", 0, "want 3 bytes of header: the file is cut off after 2", 3n],
    ["", 0, "want a header that starts with {"],
    [" {}", 0, "want a header that starts with {"],
    ["\ufeff{}", 0, "want a header that starts with {"],
    ["[]", 0, "want a header that starts with {"],
    [Uint8Array.of(0x7b, 0xff, 0x7d), 0, "want a header in UTF-8"],
    ["{", 0, "want a header in JSON"],
    ["{}{}", 0, "want a header in JSON"],
    [`{"a":${u8},"a":${u8}}`, 4, 'want each name once: the header has "a" twice'],
    [`{"a":${u8},"\\u0061" :${u8}}`, 4, 'want each name once: the header has "a" twice'],
    ['{"a":{"dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4]}}', 4, '"dtype" twice'],
    ['{"a":null}', 0, 'want dtype, shape and data_offsets of "a": got null'],
    [`{"a":${entry("U8", [4], [0, 4], { x: 1 })}}`, 4, "got data_offsets, dtype, shape, x"],
    ['{"a":{"dtype":"U8","shape":[4]}}', 4, "got dtype, shape"],
    [`{"a":${entry("X8", [4], [0, 4])}}`, 4, 'its dtype is "X8"'],
    [`{"a":${entry("u8", [4], [0, 4])}}`, 4, 'its dtype is "u8"'],
    [`{"a":${entry("toString", [4], [0, 4])}}`, 4, 'its dtype is "toString"'],
    [`{"a":${entry(3, [4], [0, 4])}}`, 4, "its dtype is 3"],
    [`{"a":${entry("U8", [-4], [0, 4])}}`, 4, 'want whole numbers in the shape of "a": it is [-4]'],
    [`{"a":${entry("U8", [1.5], [0, 4])}}`, 4, "it is [1.5]"],
    [`{"a":${entry("U8", 4, [0, 4])}}`, 4, "it is 4"],
    [`{"a":${entry("U8", [2 ** 53, 2 ** 53], [0, 4])}}`, 4, "whole numbers in the shape"],
    [`{"a":${entry("U8", [4], [4, 0])}}`, 4, 'want [begin, end] in the data_offsets of "a"'],
    [`{"a":${entry("U8", [4], [0, 4, 8])}}`, 8, "want [begin, end]"],
    [`{"a":${entry("U8", [4], [-4, 0])}}`, 4, "want [begin, end]"],
    [`{"a":${entry("F32", [4], [0, 4])}}`, 4, 'want 16 bytes for "a", F32 of (4): '],
    [
      `{"a":${u8},"b":${entry("U8", [4], [2, 6])}}`,
      6,
      'want "b" right after "a", at byte 4 of the data: "b" begins at byte 2 and overlaps it',
    ],
    [`{"a":${u8},"b":${entry("U8", [4], [0, 4])}}`, 4, "and overlaps it"],
    [`{"a":${u8},"b":${entry("U8", [4], [6, 10])}}`, 10, "and leaves a hole"],
    [`{"a":${entry("U8", [4], [2, 6])}}`, 6, 'want "a" right after the header, at byte 0'],
    [`{"a":${entry("U8", [4], [0, 4])}}`, 3, "want 4 bytes of data: the file is cut off after 3"],
    [`{"__metadata__":{"a":1}}`, 0, 'want only text in __metadata__: "a" is 1'],
    [`{"__metadata__":[]}`, 0, "want an object in __metadata__: it has []"],
  ];
  for (const [header, dataBytes, message, length] of cases) {
    const said = refusal(file(header, dataBytes, length));
    assert(said.includes(message), `${header}: ${said}`);
  }
});

Deno.test("Safetensors takes every dtype of the format", async () => {
  for (const dtype of Object.keys(ELEMENT_BYTES) as Dtype[]) {
    const bytes = new Uint8Array(3 * ELEMENT_BYTES[dtype]).fill(1);
    const read = parseSafetensors(
      await serializeSafetensors([{ name: "x", dtype, shape: [3], bytes }]),
    );
    assertEquals(read.bytes("x", { start: 1 }), bytes.slice(ELEMENT_BYTES[dtype]));
  }
});

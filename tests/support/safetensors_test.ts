import { assertEquals, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { parseSafetensors } from "./safetensors.ts";

/** The bytes of a file with one tensor x, at an odd offset in its buffer. */
function file(entry: object, data: Uint8Array): Uint8Array {
  const header = new TextEncoder().encode(JSON.stringify({ __metadata__: {}, x: entry }));
  const bytes = new Uint8Array(1 + 8 + header.length + data.length).subarray(1);
  new DataView(bytes.buffer, 1).setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, 8);
  bytes.set(data, 8 + header.length);
  return bytes;
}

for (
  const [dtype, array] of [
    ["F64", Float64Array.of(1.5, -2)],
    ["F32", Float32Array.of(1.5, -2)],
    ["I64", BigInt64Array.of(1n, -2n)],
    ["I32", Int32Array.of(1, -2)],
    ["U32", Uint32Array.of(1, 2 ** 32 - 1)],
  ] as const
) {
  Deno.test(`parseSafetensors() reads ${dtype}`, () => {
    const data = new Uint8Array(array.buffer);
    const entry = { dtype, shape: [2, 1], data_offsets: [0, data.length] };
    const tensor = parseSafetensors(file(entry, data)).get("x")!;
    assertEquals(tensor.shape, [2, 1]);
    assertEquals([...tensor.data], Array.from(array, Number));
  });
}

Deno.test("parseSafetensors() refuses a dtype that goldens do not use and a big integer", () => {
  const entry = { dtype: "U64", shape: [1], data_offsets: [0, 8] };
  assertThrows(() => parseSafetensors(file(entry, new Uint8Array(8))), CannotError, "u64");
  const big = new Uint8Array(BigInt64Array.of(2n ** 60n).buffer);
  const whole = { dtype: "I64", shape: [], data_offsets: [0, 8] };
  assertThrows(() => parseSafetensors(file(whole, big)), RangeError, "below 2^53");
});

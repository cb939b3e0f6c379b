import { assert, assertEquals, assertThrows } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import { narrow } from "../../src/exchange/narrow.ts";
import { parseSafetensors, serializeSafetensors } from "../../src/run/safetensors.ts";

/** The bf16 nearest to a number, ties to the one that ends in 0, by trying the two around it. */
function nearestBf16(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0]!;
  const low = bits >>> 16;
  const valueOf = (half: number) => new Float32Array(Uint32Array.of(half << 16).buffer)[0]!;
  const [down, up] = [Math.abs(x - valueOf(low)), Math.abs(valueOf(low + 1) - x)];
  return down < up || (down === up && low % 2 === 0) ? low : low + 1;
}

Deno.test("narrow() rounds to the nearest bf16, ties to even", () => {
  const bits = new Uint32Array(65_536);
  // Every lower half behind exponents and signs of all kinds, subnormals among them.
  const heads = [0x3f80, 0x3f81, 0x0001, 0x0000, 0xc2ff, 0x7f7e, 0x807f, 0x4000];
  for (let i = 0; i < bits.length; i++) bits[i] = (heads[i % 8]! << 16) | (i ^ (i >> 3)) & 0xffff;
  const data = new Float32Array(bits.buffer);
  const got = narrow(data, "bf16", "x");
  const wrong = data.findIndex((value, i) => got[i] !== nearestBf16(value));
  assertEquals(wrong, -1, `${data[wrong]} gave ${got[wrong]}`);
});

Deno.test("narrow() gives what Safetensors reads back", async () => {
  const data = Float32Array.of(0.5, -1.25, 2 ** -14, 65504, 0, -0);
  assert(narrow(data, "f32", "x") === data);
  for (const dtype of ["f16", "bf16"] as const) {
    const bytes = narrow(data, dtype, "x");
    const file = await serializeSafetensors([{ name: "x", dtype, shape: [6], bytes }]);
    const read = parseSafetensors(file).floats("x");
    if (dtype === "f16") assertEquals(read, data);
    else assertEquals([...read], [0.5, -1.25, 2 ** -14, 65536, 0, -0]);
  }
});

Deno.test("narrow() refuses what has no finite value in the type", () => {
  const cases: [number, "f32" | "f16" | "bf16", string][] = [
    [NaN, "f32", 'Cannot take "x": want finite numbers: element 1 is NaN'],
    [-Infinity, "bf16", "element 1 is -Infinity"],
    [65520, "f16", 'Cannot write "x": want numbers in the range of f16: element 1 is 65520'],
    [3.4028235e38, "bf16", "want numbers in the range of bf16"],
    [-3.4028235e38, "bf16", "want numbers in the range of bf16"],
  ];
  for (const [value, dtype, message] of cases) {
    assertThrows(() => narrow(Float32Array.of(1, value), dtype, "x"), CannotError, message);
  }
  assertEquals([...narrow(Float32Array.of(65519), "f16", "x")], [65504]);
});

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  normalPairFromU32,
  philox4x32,
  type PhiloxCounter,
  type PhiloxKey,
  philoxKey,
  PhiloxStream,
  uniformFromU32,
} from "../../src/random/philox.ts";
import { assertClose } from "../support/close.ts";

// Random123 1.14, tests/kat_vectors, philox4x32 10.
const KNOWN: readonly [string, PhiloxCounter, PhiloxKey, number[]][] = [
  ["zeros", [0, 0, 0, 0], [0, 0], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
  [
    "ones",
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    "digits of pi",
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
];

for (const [name, counter, key, want] of KNOWN) {
  Deno.test(`philox4x32() gives the known answer for ${name}`, () => {
    assertEquals([...philox4x32(counter, key)], want);
  });
}

Deno.test("uniformFromU32() is exact in f32 and stays in [0, 1)", () => {
  assertEquals(uniformFromU32(0), 0);
  assertEquals(uniformFromU32(0xffffffff), 1 - 2 ** -24);
  for (const word of philox4x32([5, 6, 7, 8], [9, 10])) {
    const value = uniformFromU32(word);
    assertEquals(Math.fround(value), value);
  }
});

Deno.test("normalPairFromU32() is finite for every extreme word", () => {
  for (const word0 of [0, 255, 256, 0xffffffff]) {
    for (const word1 of [0, 0x80000000, 0xffffffff]) {
      for (const value of normalPairFromU32(word0, word1)) {
        assert(Math.abs(value) <= 5.77);
      }
    }
  }
});

Deno.test("philoxKey() splits the seed and refuses what is not a safe integer", () => {
  assertEquals([...philoxKey(5 * 2 ** 32 + 7)], [7, 5]);
  for (const seed of [-1, 1.5, NaN, 2 ** 53]) assertThrows(() => philoxKey(seed), RangeError);
});

Deno.test("PhiloxStream draws the blocks of counter (i, 0, stream, 0)", () => {
  const stream = new PhiloxStream(42, 3);
  const drawn = Array.from({ length: 8 }, () => stream.nextU32());
  assertEquals(drawn, [
    ...philox4x32([0, 0, 3, 0], [42, 0]),
    ...philox4x32([1, 0, 3, 0], [42, 0]),
  ]);
});

Deno.test("PhiloxStream continues from a saved state at every offset in a block", () => {
  for (let draws = 0; draws < 9; draws++) {
    const stream = new PhiloxStream(7, 1);
    for (let i = 0; i < draws; i++) stream.nextU32();
    const saved = JSON.parse(JSON.stringify(stream.state));
    const want = Array.from({ length: 10 }, () => stream.nextU32());
    const restored = PhiloxStream.fromState(saved);
    assertEquals(Array.from({ length: 10 }, () => restored.nextU32()), want);
    assertEquals(restored.state, stream.state);
  }
});

Deno.test("PhiloxStream carries into the second counter word past 2^32 blocks", () => {
  const stream = PhiloxStream.fromState({ seed: 1, stream: 0, position: 4 * (2 ** 32 + 5) });
  assertEquals(stream.nextU32(), philox4x32([5, 1, 0, 0], [1, 0])[0]);
});

Deno.test("PhiloxStream refuses a bad stream id and a bad position", () => {
  assertThrows(() => new PhiloxStream(1, -1), RangeError);
  assertThrows(() => new PhiloxStream(1, 2 ** 32), RangeError);
  assertThrows(
    () => PhiloxStream.fromState({ seed: 1, stream: 0, position: -4 }),
    RangeError,
  );
});

Deno.test("PhiloxStream streams and seeds differ", () => {
  const firsts = [new PhiloxStream(1, 0), new PhiloxStream(1, 1), new PhiloxStream(2, 0)]
    .map((stream) => stream.nextU32());
  assertEquals(new Set(firsts).size, 3);
});

Deno.test("fillNormal() has the moments of N(mean, std^2), odd lengths included", () => {
  const count = 100_001;
  const values = new Float64Array(count);
  new PhiloxStream(11).fillNormal(values, 0.5, 2);
  const mean = values.reduce((a, b) => a + b, 0) / count;
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / count;
  const fourth = values.reduce((a, b) => a + (b - mean) ** 4, 0) / count / variance ** 2;
  assertClose(mean, 0.5, { atol: 0.03, label: "mean" }); // 4.7 standard errors
  assertClose(variance, 4, { atol: 0.08, label: "variance" }); // 4.5 standard errors
  assertClose(fourth, 3, { atol: 0.08, label: "kurtosis" }); // 5 standard errors
});

Deno.test("fillUniform() fills [low, high) evenly", () => {
  const values = new Float64Array(80_000);
  new PhiloxStream(12).fillUniform(values, -2, 6);
  const counts = new Array<number>(8).fill(0);
  for (const value of values) counts[Math.floor(value + 2)]!++;
  assertEquals(counts.length, 8); // a value out of range would have added a ninth
  for (const count of counts) assertClose(count, 10_000, { atol: 450, label: "bucket" });
});

Deno.test("integer() is even, stays below its bound and refuses bad bounds", () => {
  const stream = new PhiloxStream(13);
  const counts = new Array<number>(7).fill(0);
  for (let i = 0; i < 70_000; i++) counts[stream.integer(7)]!++;
  for (const count of counts) assertClose(count, 10_000, { atol: 450, label: "bucket" });
  assertEquals(stream.integer(1), 0);
  assert(stream.integer(2 ** 32) < 2 ** 32);
  for (const bound of [0, -1, 1.5, 2 ** 32 + 1, NaN]) {
    assertThrows(() => stream.integer(bound), RangeError);
  }
});

Deno.test("integer() redraws the words that would favour small values", () => {
  const stream = new PhiloxStream(15);
  let below = 0; // a bound of 3/4 of 2^32: without redrawing, half the values were below a third
  for (let i = 0; i < 9_000; i++) {
    if (stream.integer(3 * 2 ** 30) < 2 ** 30) below++;
  }
  assertClose(below, 3_000, { atol: 225, label: "values in the first third" });
});

Deno.test("shuffle() permutes in place, and every order of three comes up alike", () => {
  const stream = new PhiloxStream(14);
  const big = stream.shuffle(Uint32Array.from({ length: 100 }, (_, i) => i));
  assertEquals([...big].sort((a, b) => a - b), Array.from({ length: 100 }, (_, i) => i));
  const seen = new Map<string, number>();
  for (let i = 0; i < 6_000; i++) {
    const order = stream.shuffle([0, 1, 2]).join("");
    seen.set(order, (seen.get(order) ?? 0) + 1);
  }
  assertEquals(seen.size, 6);
  for (const count of seen.values()) assertClose(count, 1_000, { atol: 150, label: "order" });
});

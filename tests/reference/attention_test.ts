import { assertEquals } from "@std/assert";
import { PhiloxStream } from "../../src/random/philox.ts";
import { assertClose } from "../support/close.ts";
import { normal } from "../support/random.ts";
import { attentionBackward, attentionForward, type AttentionOptions } from "./attention.ts";
import { assertGradient, weightedSum } from "./finite_difference.ts";

/** A keep callback with drop probability p, fixed for its dims. */
function seededKeep({ T, NH, B }: { B: number; T: number; NH: number }, p: number) {
  const mask = new Float64Array(B * NH * T * T);
  const stream = new PhiloxStream(99);
  for (let i = 0; i < mask.length; i++) mask[i] = stream.uniform() >= p ? 1 / (1 - p) : 0;
  return (b: number, h: number, t: number, j: number) => mask[((b * NH + h) * T + t) * T + j]!;
}

const DIMS = { B: 2, T: 7, NH: 2, HS: 3 };
const CASES: [string, AttentionOptions][] = [
  ["one element", { B: 1, T: 1, NH: 1, HS: 1 }],
  ["dense", DIMS],
  ["band 1", { ...DIMS, band: 1 }],
  ["band 3", { ...DIMS, band: 3 }],
  ["band wider than T", { ...DIMS, band: 70 }],
  ["lengths, one of them 0", { ...DIMS, lengths: [5, 0] }],
  ["dropout", { ...DIMS, keep: seededKeep(DIMS, 0.3) }],
  ["band, lengths and dropout", {
    ...DIMS,
    band: 2,
    lengths: [7, 4],
    keep: seededKeep(DIMS, 0.3),
  }],
  ["head size 17", { B: 1, T: 3, NH: 1, HS: 17 }],
];

for (const [name, options] of CASES) {
  Deno.test(`attentionBackward() is the gradient: ${name}`, () => {
    const { B, T, NH, HS } = options;
    const qkv = Float64Array.from(normal(1, B * T * 3 * NH * HS)); // (B, T, 3, NH, HS)
    const dout = normal(2, B * T * NH * HS); // (B, T, NH, HS)
    const loss = () => weightedSum(attentionForward(qkv, options).out, dout);
    assertGradient(loss, qkv, attentionBackward(dout, qkv, options), { label: "dqkv" });
  });
}

Deno.test("attentionForward() with a band at least T wide is dense", () => {
  const qkv = normal(3, 2 * 7 * 3 * 2 * 3);
  assertEquals(attentionForward(qkv, { ...DIMS, band: 7 }), attentionForward(qkv, DIMS));
});

Deno.test("attentionForward() with band 1 copies each token's own value", () => {
  const { B, T, NH, HS } = DIMS;
  const qkv = normal(4, B * T * 3 * NH * HS);
  const values = Array.from({ length: B * T * NH * HS }, (_, i) => {
    const [row, rest] = [Math.floor(i / (NH * HS)), i % (NH * HS)];
    return qkv[(row * 3 + 2) * NH * HS + rest]!;
  });
  assertClose(attentionForward(qkv, { ...DIMS, band: 1 }).out, values, { rtol: 1e-15 });
});

Deno.test("attention neither reads nor writes what lies past a length", () => {
  const { B, T, NH, HS } = DIMS;
  const options = { ...DIMS, lengths: [5, 0] };
  const rowSize = 3 * NH * HS;
  const isPadding = (row: number) => row % T >= options.lengths[Math.floor(row / T)]!;
  const clean = Float64Array.from(normal(5, B * T * rowSize)); // (B, T, 3, NH, HS)
  const poisoned = clean.map((x, i) => isPadding(Math.floor(i / rowSize)) ? NaN : x);
  const dout = Float64Array.from(normal(6, B * T * NH * HS)) // (B, T, NH, HS)
    .map((x, i) => isPadding(Math.floor(i / (NH * HS))) ? NaN : x);
  const { out, lse } = attentionForward(poisoned, options);
  assertEquals({ out, lse }, attentionForward(clean, options));
  const dqkv = attentionBackward(dout, poisoned, options);
  for (let i = 0; i < dqkv.length; i++) {
    if (isPadding(Math.floor(i / rowSize))) assertEquals(dqkv[i], 0);
  }
  assertEquals(dqkv.some(Number.isNaN), false);
});

Deno.test("attention stays finite with scores of 1e5", () => {
  const options = { B: 1, T: 5, NH: 1, HS: 4 };
  const qkv = normal(7, 5 * 3 * 4, 300);
  const { out, lse } = attentionForward(qkv, options);
  const dqkv = attentionBackward(out, qkv, options);
  for (const values of [out, lse, dqkv]) assertEquals(values.every(Number.isFinite), true);
});

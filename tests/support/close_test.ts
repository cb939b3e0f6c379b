import { assertEquals, AssertionError, assertStringIncludes, assertThrows } from "@std/assert";
import { assertBits, assertClose, relativeError } from "./close.ts";

Deno.test("assertClose() passes within atol, rtol and bound", () => {
  assertClose(1, 1);
  assertClose([1, 100], [1.5, 100], { atol: 0.5 });
  assertClose([101], [100], { rtol: 0.01 });
  assertClose([1, 2], [1, 3], { bound: [0, 1] });
  assertClose(new Float32Array([Infinity]), [Infinity]);
  assertClose([], []);
});

Deno.test("assertClose() fails just outside, on NaN, on infinities and on lengths", () => {
  assertThrows(() => assertClose([1], [1.51], { atol: 0.5 }), AssertionError);
  assertThrows(() => assertClose([102], [100], { rtol: 0.01 }), AssertionError);
  assertThrows(() => assertClose([2], [3], { bound: [0.9] }), AssertionError);
  assertThrows(() => assertClose([2], [3], { bound: [NaN] }), AssertionError);
  assertThrows(() => assertClose([NaN], [1], { atol: 1e9 }), AssertionError);
  assertThrows(() => assertClose([1], [NaN], { atol: 1e9 }), AssertionError);
  assertThrows(() => assertClose([NaN], [NaN], { atol: 1e9 }), AssertionError);
  assertThrows(() => assertClose([Infinity], [1], { atol: 1e9 }), AssertionError);
  assertThrows(() => assertClose([1], [Infinity], { rtol: 1 }), AssertionError);
  assertThrows(() => assertClose([1, 2], [1], { atol: 9 }), AssertionError);
});

Deno.test("assertClose() says the label, the worst element and the first five", () => {
  const got = [0, 1, 2, 3, 4, 5, 60, 7];
  const error = assertThrows(
    () => assertClose(got, new Array(8).fill(0), { atol: 0.5, label: "dinp" }),
    AssertionError,
  );
  assertStringIncludes(error.message, "dinp: 7 of 8 differ (0 NaN); max error 60 at [6]: got 60");
  assertEquals(error.message.match(/^ {2}\[\d\]/gm)?.join(""), "  [1]  [2]  [3]  [4]  [5]");
});

Deno.test("assertBits() tells zeros apart and says what differs first", () => {
  const of = (...values: number[]) => Float32Array.from(values);
  assertBits(of(1, NaN, -0), of(1, NaN, -0));
  assertThrows(() => assertBits(of(1), of(1, 2)), AssertionError, "lengths differ: got 1, want 2");
  assertThrows(
    () => assertBits(of(9, 1, -0, 3).subarray(1), of(1, 0, 4), "out"),
    AssertionError,
    "out: the bits of 2 of 3 differ, first [1]: got 0, want 0",
  );
});

Deno.test("relativeError() is max error over max value", () => {
  assertEquals(relativeError([1, 2.5], [1, -2]), 2.25);
  assertEquals(relativeError([NaN], [1]), NaN);
  assertEquals(relativeError([0.5], [0]), 0.5);
});

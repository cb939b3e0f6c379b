import {
  assert,
  assertAlmostEquals,
  assertArrayIncludes,
  assertEquals,
  assertExists,
  assertFalse,
  assertGreater,
  assertGreaterOrEqual,
  assertInstanceOf,
  AssertionError,
  assertIsError,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertNotEquals,
  assertNotMatch,
  assertNotStrictEquals,
  assertObjectMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
  equal,
  fail,
  unimplemented,
  unreachable,
} from "@std/assert";

class Point {
  constructor(readonly x: number, readonly y: number) {}
}

/** Asserts with nothing but the language that `fn` throws an AssertionError that says `text`. */
function mustFail(fn: () => void, text = ""): void {
  try {
    fn();
  } catch (error) {
    if (error instanceof AssertionError && error.message.includes(text)) return;
    throw new Error(`threw something else than an AssertionError with "${text}"`, { cause: error });
  }
  throw new Error(`did not throw: ${fn}`);
}

Deno.test("equal() compares by value and by class", () => {
  const cycle = (): unknown => {
    const value: Record<string, unknown> = { a: 1 };
    value.self = value;
    return value;
  };
  const same: [unknown, unknown][] = [
    [NaN, NaN],
    [0, -0],
    [[0], [-0]],
    [new Float32Array([0, NaN]), new Float32Array([-0, NaN])],
    [{ a: [1, { b: "c" }] }, { a: [1, { b: "c" }] }],
    [Object.create(null), {}],
    [new Set([{ a: 1 }, { b: 2 }]), new Set([{ b: 2 }, { a: 1 }])],
    [new Map([["a", [1]], ["b", [2]]]), new Map([["b", [2]], ["a", [1]]])],
    [new Date(5), new Date(5)],
    [new Date(NaN), new Date(NaN)],
    [/a/g, /a/g],
    [new Point(1, 2), new Point(1, 2)],
    [new Error("a", { cause: 1 }), new Error("a", { cause: 1 })],
    [new Uint8Array([1, 2]).buffer, new Uint8Array([1, 2]).buffer],
    [cycle(), cycle()],
  ];
  for (const [a, b] of same) assert(equal(a, b), Deno.inspect([a, b]));
  const different: [unknown, unknown][] = [
    [1, "1"],
    [null, undefined],
    [{}, null],
    [{ a: undefined }, {}],
    [{ a: undefined }, { b: undefined }],
    [[1, 2], [2, 1]],
    [[1], [1, undefined]],
    [new Float32Array([1]), new Float64Array([1])],
    [new Float32Array([1]), [1]],
    [new Set([1, 2]), new Set([1, 3])],
    [new Map([["a", 1]]), new Map([["a", 2]])],
    [new Date(5), new Date(6)],
    [/a/g, /a/i],
    [new Point(1, 2), { x: 1, y: 2 }],
    [new Error("a"), new Error("b")],
    [new Error("a"), new TypeError("a")],
    [new Error("a", { cause: 1 }), new Error("a", { cause: 2 })],
    [new Uint8Array([1]).buffer, new Uint8Array([2]).buffer],
    [Symbol("a"), Symbol("a")],
  ];
  for (const [a, b] of different) assert(!equal(a, b), Deno.inspect([a, b]));
});

Deno.test("assert() and assertFalse()", () => {
  assert(1);
  assertFalse("");
  mustFail(() => assert(0, "why"), "why");
  mustFail(() => assertFalse(1, "why"), "why");
});

Deno.test("assertEquals() and assertNotEquals()", () => {
  assertEquals([1, { a: 2 }], [1, { a: 2 }]);
  assertEquals(-0, 0);
  assertNotEquals([1], [2]);
  mustFail(() => assertEquals([1], [2], "why"), "why");
  mustFail(() => assertEquals({ a: 1 }, { a: 2 }), "Values are not equal");
  mustFail(() => assertNotEquals([1], [1], "why"), "why");
});

Deno.test("assertStrictEquals() and assertNotStrictEquals()", () => {
  const object = {};
  assertStrictEquals(object, object);
  assertStrictEquals(NaN, NaN);
  assertNotStrictEquals({}, {});
  assertNotStrictEquals<number>(0, -0);
  mustFail(() => assertStrictEquals({}, {}));
  mustFail(() => assertStrictEquals(0, -0));
  mustFail(() => assertNotStrictEquals(object, object));
});

Deno.test("assertAlmostEquals() has a relative default and an absolute tolerance", () => {
  assertAlmostEquals(1e9 + 50, 1e9);
  assertAlmostEquals(1e-8, 0);
  assertAlmostEquals(1.4, 1, 0.5);
  assertAlmostEquals(NaN, NaN);
  assertAlmostEquals(Infinity, Infinity);
  mustFail(() => assertAlmostEquals(1e9 + 150, 1e9));
  mustFail(() => assertAlmostEquals(1.6, 1, 0.5));
  mustFail(() => assertAlmostEquals(NaN, 1));
  mustFail(() => assertAlmostEquals(Infinity, 1));
});

Deno.test("assertArrayIncludes(), assertStringIncludes(), assertMatch() and assertNotMatch()", () => {
  assertArrayIncludes([1, { a: 2 }, 3], [{ a: 2 }, 1]);
  assertStringIncludes("abc", "bc");
  assertMatch("abc", /b./);
  assertNotMatch("abc", /d/);
  mustFail(() => assertArrayIncludes([1, 2], [3]));
  mustFail(() => assertStringIncludes("abc", "d"));
  mustFail(() => assertMatch("abc", /d/));
  mustFail(() => assertNotMatch("abc", /b/));
});

Deno.test("assertExists() and assertInstanceOf()", () => {
  assertExists(0);
  assertInstanceOf(new Point(1, 2), Point);
  mustFail(() => assertExists(null));
  mustFail(() => assertExists(undefined));
  mustFail(
    () => assertInstanceOf({}, Point),
    'an instance of "Point" but was an instance of "Object"',
  );
  mustFail(() => assertInstanceOf(null, Point), "null");
});

Deno.test("assertGreater() and the like", () => {
  assertGreater(2, 1);
  assertGreaterOrEqual(2, 2);
  assertLess(1n, 2n);
  assertLessOrEqual("a", "a");
  mustFail(() => assertGreater(1, 1));
  mustFail(() => assertGreaterOrEqual(1, 2));
  mustFail(() => assertLess(1, 1));
  mustFail(() => assertLessOrEqual(NaN, 1));
});

Deno.test("assertObjectMatch() looks at what is expected only", () => {
  const actual = { a: 1, b: { c: [1, { d: 2, e: 3 }], f: 4 }, g: new Map([["h", 1], ["i", 2]]) };
  assertObjectMatch(actual, { b: { c: [1, { d: 2 }] } });
  assertObjectMatch(actual, { g: new Map([["i", 2]]) });
  mustFail(() => assertObjectMatch(actual, { b: { c: [1, { d: 3 }] } }));
  mustFail(() => assertObjectMatch(actual, { z: undefined }));
});

Deno.test("assertIsError() checks class and message", () => {
  assertIsError(new RangeError("too far"), Error);
  assertIsError(new RangeError("too far"), RangeError, "far");
  assertIsError(new RangeError("too far"), RangeError, /^too/);
  mustFail(() => assertIsError("too far"));
  mustFail(() => assertIsError(new Error("too far"), RangeError));
  mustFail(() => assertIsError(new Error("too far"), Error, "near"));
});

Deno.test("assertThrows() returns the error", () => {
  const boom = () => {
    throw new RangeError("too far");
  };
  assertStrictEquals(assertThrows(boom, RangeError, "far").message, "too far");
  assertInstanceOf(assertThrows(boom), RangeError);
  assertStrictEquals(
    assertThrows(() => {
      throw "text";
    }),
    "text",
  );
  mustFail(() => assertThrows(() => {}, "why"), "why");
  mustFail(() => assertThrows(boom, TypeError), "TypeError");
  mustFail(() => assertThrows(boom, RangeError, "near"), "near");
  mustFail(() =>
    assertThrows(() => {
      throw "text";
    }, Error), "non-Error");
});

Deno.test("assertRejects() returns the error, and wants a promise", async () => {
  const boom = () => Promise.reject(new RangeError("too far"));
  assertStrictEquals((await assertRejects(boom, RangeError, "far")).message, "too far");
  assertInstanceOf(await assertRejects(boom), RangeError);
  const failing: (() => Promise<unknown>)[] = [
    () => assertRejects(() => Promise.resolve(1)),
    () => assertRejects(boom, TypeError),
    () =>
      assertRejects(() => {
        throw new RangeError("too far");
      }, RangeError),
  ];
  for (const run of failing) {
    const error = await run().then(() => undefined, (reason) => reason);
    assertInstanceOf(error, AssertionError);
  }
});

Deno.test("fail(), unreachable() and unimplemented()", () => {
  mustFail(() => fail("why"), "Failed assertion: why");
  mustFail(() => unreachable(), "Unreachable");
  mustFail(() => unimplemented("why"), "Unimplemented: why");
});

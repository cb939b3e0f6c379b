/**
 * Assertions with the names, signatures and meaning of `@std/assert`, over `node:assert/strict`.
 *
 * The import map names this file `@std/assert`, so that the tests can move to the real one by a
 * change of that single line.
 *
 * @module
 */

import {
  AssertionError as NodeAssertionError,
  deepStrictEqual,
  strictEqual,
} from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";

/** Any class that can be instantiated. */
// deno-lint-ignore no-explicit-any
export type AnyConstructor = new (...args: any[]) => any;

/** A class of errors, abstract ones included. */
export type ErrorClass<E extends Error = Error> = abstract new (...args: never[]) => E;

/** Something with a length and numbered elements, typed arrays included. */
export type ArrayLikeArg<T> = ArrayLike<T> & object;

/** Thrown by every assertion here that does not hold. */
export class AssertionError extends Error {
  /** Shown before the message. */
  override name = "AssertionError";
}

function failWith(summary: string, msg?: string, cause?: unknown): never {
  throw new AssertionError(msg ? `${summary}: ${msg}` : summary, { cause });
}

function show(value: unknown): string {
  return Deno.inspect(value, {
    depth: 6,
    sorted: true,
    trailingComma: true,
    strAbbreviateSize: 10_000,
  });
}

/**
 * Runs node's assertion, whose message has the difference line by line, and throws ours in its
 * place.
 */
function withDifference(nodeAssertion: () => void, summary: string, msg?: string): void {
  try {
    nodeAssertion();
  } catch (error) {
    if (!(error instanceof NodeAssertionError)) throw error;
    failWith(`${summary}\n${error.message}`, msg);
  }
}

/**
 * Whether two values are deeply equal, by value and by class. As in `@std/assert`, NaN equals NaN
 * and, other than for node's own assertions, 0 equals -0 at any depth.
 */
export function equal(a: unknown, b: unknown): boolean {
  return compare(a, b, new Map());
}

// `seen` holds the pairs being compared further up: to meet one again is a cycle on both sides.
function compare(a: unknown, b: unknown, seen: Map<object, object>): boolean {
  if (a === b || Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b) && !bothPlain(a, b)) return false;
  if (seen.get(a) === b) return true;
  seen.set(a, b);
  if (a instanceof Date) return Object.is(a.getTime(), (b as Date).getTime());
  if (a instanceof RegExp || a instanceof URL) return String(a) === String(b);
  if (a instanceof WeakMap || a instanceof WeakSet || a instanceof WeakRef) return false;
  if (a instanceof Set) return sameMembers([...a], [...(b as Set<unknown>)], seen);
  if (a instanceof Map) return sameMembers([...a], [...(b as Map<unknown, unknown>)], seen);
  if (a instanceof ArrayBuffer) {
    return compare(new Uint8Array(a), new Uint8Array(b as ArrayBuffer), seen);
  }
  if (a instanceof DataView) return isDeepStrictEqual(a, b);
  if (a instanceof Number || a instanceof String || a instanceof Boolean) {
    return Object.is(a.valueOf(), b.valueOf());
  }
  if (ArrayBuffer.isView(a)) {
    const [x, y] = [a as unknown as ArrayLike<number>, b as unknown as ArrayLike<number>];
    if (x.length !== y.length) return false;
    for (let i = 0; i < x.length; i++) {
      if (x[i] !== y[i] && !Object.is(x[i], y[i])) return false;
    }
    return true;
  }
  const [left, right] = [a as Record<PropertyKey, unknown>, b as Record<PropertyKey, unknown>];
  // Not enumerable, and yet what an error is about.
  if (
    a instanceof Error &&
    (a.message !== (b as Error).message || !compare(a.cause, (b as Error).cause, seen))
  ) {
    return false;
  }
  const keys = enumerableKeys(left);
  if (Array.isArray(a) && a.length !== (b as unknown[]).length) return false;
  return keys.length === enumerableKeys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && compare(left[key], right[key], seen));
}

function enumerableKeys(value: object): PropertyKey[] {
  return Reflect.ownKeys(value).filter((key) =>
    Object.prototype.propertyIsEnumerable.call(value, key)
  );
}

// `{}` and `Object.create(null)` are of one class.
function bothPlain(a: object, b: object): boolean {
  return [a, b].every((value) => {
    const prototype = Object.getPrototypeOf(value);
    return prototype === null || prototype === Object.prototype;
  });
}

function sameMembers(a: unknown[], b: unknown[], seen: Map<object, object>): boolean {
  if (a.length !== b.length) return false;
  const left = [...b];
  return a.every((item) => {
    const at = left.findIndex((other) => compare(item, other, seen));
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  });
}

/** Asserts that `expr` is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw new AssertionError(msg);
}

/** Asserts that `expr` is falsy. */
export function assertFalse(
  expr: unknown,
  msg?: string,
): asserts expr is false | 0 | "" | null | undefined | 0n {
  if (expr) failWith("Expected a falsy value", msg);
}

/** Asserts that two values are deeply equal. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) return;
  withDifference(() => deepStrictEqual(actual, expected), "Values are not equal", msg);
  failWith("Values are not equal", msg); // ours is the judge, node only shows
}

/** Asserts that two values are not deeply equal. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) {
    failWith(`Expected actual: ${show(actual)} not to be: ${show(expected)}`, msg);
  }
}

/** Asserts that two values are the same, by `Object.is`. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  withDifference(() => strictEqual(actual, expected), "Values are not strictly equal", msg);
}

/** Asserts that two values are not the same, by `Object.is`. */
export function assertNotStrictEquals<T>(actual: T, expected: T, msg?: string): void {
  if (Object.is(actual, expected)) {
    failWith(`Expected "actual" not to be strictly equal to: ${show(actual)}`, msg);
  }
}

/**
 * Asserts that two numbers differ by at most `tolerance`.
 *
 * Without one it is 1e-7 of the expected value, or 1e-7 where that is 0 or not finite.
 */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance?: number,
  msg?: string,
): void {
  if (Object.is(actual, expected)) return;
  const relative = Math.abs(expected) * 1e-7;
  const bound = tolerance ?? (expected !== 0 && Number.isFinite(relative) ? relative : 1e-7);
  const delta = Math.abs(expected - actual);
  if (delta <= bound) return;
  failWith(
    `Expected actual: "${actual}" to be close to "${expected}": delta "${delta}" is greater than "${bound}"`,
    msg,
  );
}

/** Asserts that `actual` has every element of `expected`, in any order. */
export function assertArrayIncludes<T>(
  actual: ArrayLikeArg<T>,
  expected: ArrayLikeArg<T>,
  msg?: string,
): void {
  const have = Array.from(actual);
  const missing = Array.from(expected).filter((want) => !have.some((item) => equal(item, want)));
  if (missing.length > 0) {
    failWith(
      `Expected actual: "${show(actual)}" to include: "${show(expected)}"\nmissing: ${
        show(missing)
      }`,
      msg,
    );
  }
}

/** Asserts that `actual` is neither null nor undefined. */
export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T> {
  if (actual === undefined || actual === null) {
    failWith(`Expected actual: "${actual}" to not be null or undefined`, msg);
  }
}

/** Asserts that `actual` is greater than `expected`. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual > expected)) failWith(`Expect ${show(actual)} > ${show(expected)}`, msg);
}

/** Asserts that `actual` is greater than `expected` or equal to it. */
export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual >= expected)) failWith(`Expect ${show(actual)} >= ${show(expected)}`, msg);
}

/** Asserts that `actual` is less than `expected`. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual < expected)) failWith(`Expect ${show(actual)} < ${show(expected)}`, msg);
}

/** Asserts that `actual` is less than `expected` or equal to it. */
export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual <= expected)) failWith(`Expect ${show(actual)} <= ${show(expected)}`, msg);
}

/** Asserts that `actual` is an instance of `expectedType`. */
export function assertInstanceOf<T extends AnyConstructor>(
  actual: unknown,
  expectedType: T,
  msg?: string,
): asserts actual is InstanceType<T> {
  if (actual instanceof expectedType) return;
  const got = typeof actual === "object" && actual !== null
    ? `an instance of "${actual.constructor?.name ?? "Object"}"`
    : `"${actual === null ? "null" : typeof actual}"`;
  failWith(
    `Expected object to be an instance of "${
      expectedType.name || "anonymous class"
    }" but was ${got}`,
    msg,
  );
}

/**
 * Asserts that `error` is an Error, of a class and with a message that includes `msgMatches` where
 * given.
 */
export function assertIsError<E extends Error = Error>(
  error: unknown,
  ErrorClass?: ErrorClass<E>,
  msgMatches?: string | RegExp,
  msg?: string,
): asserts error is E {
  if (!(error instanceof Error)) {
    failWith(`Expected "error" to be an Error object: ${show(error)}`, msg);
  }
  if (ErrorClass && !(error instanceof ErrorClass)) {
    failWith(
      `Expected error to be instance of "${ErrorClass.name}", but was "${error.constructor.name}"`,
      msg,
      error,
    );
  }
  if (msgMatches === undefined) return;
  const matches = typeof msgMatches === "string"
    ? error.message.includes(msgMatches)
    : msgMatches.test(error.message);
  if (!matches) {
    const want = typeof msgMatches === "string"
      ? `include ${show(msgMatches)}`
      : `match ${msgMatches}`;
    failWith(`Expected error message to ${want}, but got ${show(error.message)}`, msg, error);
  }
}

/** Asserts that `actual` matches `expected`. */
export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  if (!expected.test(actual)) failWith(`Expected actual: "${actual}" to match: "${expected}"`, msg);
}

/** Asserts that `actual` does not match `expected`. */
export function assertNotMatch(actual: string, expected: RegExp, msg?: string): void {
  if (expected.test(actual)) {
    failWith(`Expected actual: "${actual}" to not match: "${expected}"`, msg);
  }
}

/** Asserts that `actual` includes `expected`. */
export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  if (!actual.includes(expected)) {
    failWith(`Expected actual: "${actual}" to contain: "${expected}"`, msg);
  }
}

/**
 * Asserts that `actual` has all that `expected` has, at any depth; what else it has is not looked
 * at.
 */
export function assertObjectMatch(
  actual: Record<PropertyKey, unknown>,
  expected: Record<PropertyKey, unknown>,
  msg?: string,
): void {
  assertEquals(narrowed(actual, expected), expected, msg);
}

/** `actual` with only those keys that `expected` has, at any depth. */
function narrowed(actual: unknown, expected: unknown): unknown {
  if (Array.isArray(actual) && Array.isArray(expected)) {
    return actual.slice(0, expected.length).map((item, i) => narrowed(item, expected[i]));
  }
  if (actual instanceof Map && expected instanceof Map) {
    const kept = [...actual].filter(([key]) => expected.has(key));
    return new Map(kept.map(([key, value]) => [key, narrowed(value, expected.get(key))]));
  }
  if (actual instanceof Set && expected instanceof Set) {
    return new Set([...actual].filter((item) => [...expected].some((want) => equal(item, want))));
  }
  if (!isPlainish(actual) || !isPlainish(expected)) return actual;
  const kept: Record<PropertyKey, unknown> = Object.create(Object.getPrototypeOf(expected));
  for (const key of Reflect.ownKeys(expected)) {
    if (key in actual) kept[key] = narrowed(actual[key], expected[key]);
  }
  return kept;
}

function isPlainish(value: unknown): value is Record<PropertyKey, unknown> {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return false;
  return !(value instanceof RegExp || value instanceof Date || value instanceof Map ||
    value instanceof Set);
}

/** Asserts that `fn` throws, and returns what it threw. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/**
 * Asserts that `fn` throws an error of a class, whose message includes `msgIncludes`, and returns
 * it.
 */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  errorClassOrMsg?: ErrorClass<E> | string,
  msgIncludes?: string,
  msg?: string,
): E | unknown {
  const want = wanted(errorClassOrMsg, msgIncludes, msg);
  try {
    fn();
  } catch (error) {
    return checked(error, want);
  }
  failWith("Expected function to throw", want.msg);
}

/** Asserts that the promise of `fn` rejects, and returns what it rejected with. */
export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
/**
 * Asserts that the promise of `fn` rejects with an error of a class, whose message includes
 * `msgIncludes`.
 */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: ErrorClass<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  errorClassOrMsg?: ErrorClass<E> | string,
  msgIncludes?: string,
  msg?: string,
): Promise<E | unknown> {
  const want = wanted(errorClassOrMsg, msgIncludes, msg);
  let promise: PromiseLike<unknown> | undefined;
  try {
    promise = fn();
    await promise;
  } catch (error) {
    // A throw before any promise is another fault than the one asked for.
    if (promise === undefined) failWith("Function throws when expected to reject", want.msg, error);
    return checked(error, want);
  }
  failWith("Expected function to reject", want.msg);
}

interface Wanted {
  ErrorClass: ErrorClass | undefined;
  msgIncludes: string | undefined;
  msg: string | undefined;
}

function wanted(
  errorClassOrMsg: ErrorClass | string | undefined,
  msgIncludes?: string,
  msg?: string,
): Wanted {
  if (typeof errorClassOrMsg === "string") {
    return { ErrorClass: undefined, msgIncludes: undefined, msg: errorClassOrMsg };
  }
  return { ErrorClass: errorClassOrMsg, msgIncludes, msg };
}

function checked(error: unknown, { ErrorClass, msgIncludes, msg }: Wanted): unknown {
  if (ErrorClass === undefined) return error;
  if (!(error instanceof Error)) failWith("A non-Error object was thrown or rejected", msg, error);
  assertIsError(error, ErrorClass, msgIncludes, msg);
  return error;
}

/** Fails always. */
export function fail(msg?: string): never {
  failWith("Failed assertion", msg);
}

/** Fails where code should never come. */
export function unreachable(msg?: string): never {
  failWith("Unreachable", msg);
}

/** Fails where code is still to be written. */
export function unimplemented(msg?: string): never {
  failWith("Unimplemented", msg);
}

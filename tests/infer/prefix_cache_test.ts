import { assertEquals } from "@std/assert";
import { PrefixCache } from "../../src/infer/prefix_cache.ts";

const ids = (...values: number[]) => values.flatMap((value) => new Array(16).fill(value));

Deno.test("PrefixCache finds the longest beginning that is known", () => {
  const cache = new PrefixCache();
  cache.add(ids(1, 2, 3), [10, 11, 12]);
  assertEquals(cache.find(ids(1, 2, 3), 3), [10, 11, 12]);
  assertEquals(cache.find(ids(1, 2, 3), 2), [10, 11]);
  assertEquals(cache.find(ids(1, 2, 4), 3), [10, 11]);
  assertEquals(cache.find(ids(2, 2, 3), 3), [], "equal ids after other ids are another block");
  const [last, ...rest] = ids(1).toReversed();
  assertEquals(cache.find([...rest, last! + 1], 1), [], "one id of 16 differs");
  cache.add(ids(1, 2, 4), [20, 21, 22]);
  assertEquals(cache.find(ids(1, 2, 4), 3), [10, 11, 22], "the first of equal blocks stays");
  assertEquals([cache.has(20), cache.has(21), cache.has(22)], [false, false, true]);
});

Deno.test("PrefixCache does not find what followed a block that is gone", () => {
  const cache = new PrefixCache();
  cache.add(ids(1, 2, 3), [10, 11, 12]);
  cache.remove(10);
  assertEquals(cache.find(ids(1, 2, 3), 3), []);
  cache.add(ids(1), [30]);
  assertEquals(cache.find(ids(1, 2, 3), 3), [30], "another block, though of the same ids");
  cache.add(ids(1, 2, 3), [30, 11, 12]);
  assertEquals(cache.find(ids(1, 2, 3), 3), [30, 11, 12]);
  cache.clear();
  assertEquals([cache.find(ids(1), 1), cache.has(11)], [[], false]);
});

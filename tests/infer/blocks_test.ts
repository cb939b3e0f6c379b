import { assertEquals, assertThrows } from "@std/assert";
import { BlockPool, blocksOf } from "../../src/infer/blocks.ts";

const ids = (...values: number[]) => values.flatMap((value) => new Array(16).fill(value));

Deno.test("blocksOf() counts blocks of 16", () => {
  assertEquals([0, 1, 15, 16, 17, 32].map(blocksOf), [0, 1, 1, 1, 2, 2]);
});

Deno.test("BlockPool counts references", () => {
  const pool = new BlockPool(3);
  const blocks = pool.take(2)!;
  assertEquals([pool.available, pool.used, pool.take(2)], [1, 2, undefined]);
  pool.share([blocks[0]!]);
  pool.release(blocks);
  assertEquals([pool.available, pool.used], [2, 1]);
  pool.release([blocks[0]!]);
  assertEquals([pool.available, pool.used], [3, 0]);
  assertThrows(() => pool.release([blocks[0]!]), Error, "it has none");
});

Deno.test("BlockPool keeps what can be found until others need it, the longest idle go first", () => {
  const pool = new BlockPool(4);
  const first = pool.take(2)!;
  pool.publish(ids(1, 2), first);
  pool.release(first);
  const second = pool.take(2)!;
  pool.publish(ids(3, 4), second);
  pool.release(second);
  assertEquals([pool.available, pool.used], [4, 0]);
  const known = pool.find(ids(1, 2), 2);
  assertEquals([known, pool.idleOf(known)], [first, 2]);
  pool.share(known);
  assertEquals([pool.available, pool.idleOf(known)], [2, 0]);
  pool.release(known); // now the others are idle for longer
  assertEquals(pool.take(1), [second[1]], "the end of a text goes before its beginning");
  assertEquals([pool.find(ids(3, 4), 2), pool.find(ids(1, 2), 2)], [[second[0]], first]);
  assertEquals(pool.take(3)!.toSorted(), [second[0], ...first].toSorted());
  assertEquals([pool.find(ids(3), 1), pool.find(ids(1), 1)], [[], []]);
});

Deno.test("BlockPool forgets at once, and gives back what is in use when it is released", () => {
  const pool = new BlockPool(3);
  const blocks = pool.take(2)!;
  pool.publish(ids(1, 2), blocks);
  pool.release([blocks[1]!]);
  pool.forget();
  assertEquals([pool.find(ids(1), 1), pool.available], [[], 2]);
  pool.release([blocks[0]!]);
  assertEquals([pool.find(ids(1), 1), pool.take(3)!.length], [[], 3]);
});

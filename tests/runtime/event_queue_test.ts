import { assertEquals, assertRejects } from "@std/assert";
import { EventQueue } from "../../src/runtime/event_queue.ts";

function queueOf(most: number) {
  let left = 0;
  const queue = new EventQueue<number>(most, () => left++);
  return { queue, left: () => left };
}

Deno.test("events come in the order of the pushes, waited for or not", async () => {
  const { queue, left } = queueOf(10);
  queue.push([1, 2]);
  assertEquals(await queue.next(), { done: false, value: 1 });
  assertEquals(await queue.next(), { done: false, value: 2 });
  const third = queue.next();
  queue.push([3, 4]);
  assertEquals(await third, { done: false, value: 3 });
  queue.end();
  assertEquals(await queue.next(), { done: false, value: 4 });
  assertEquals(await queue.next(), { done: true, value: undefined });
  assertEquals(await queue.next(), { done: true, value: undefined });
  await queue.return();
  assertEquals(left(), 0); // it had ended by itself
});

Deno.test("no more than so many wait, and a push is taken whole or not at all", async () => {
  const { queue } = queueOf(3);
  assertEquals(queue.push([1, 2]), true);
  assertEquals(queue.push([3, 4]), false);
  assertEquals(queue.push([3]), true);
  await queue.next();
  assertEquals(queue.push([4]), true);
  queue.end();
  const rest: number[] = [];
  for await (const event of { [Symbol.asyncIterator]: () => queue }) rest.push(event);
  assertEquals(rest, [2, 3, 4]);
});

Deno.test("a failure comes after what waits, once", async () => {
  const { queue } = queueOf(3);
  queue.push([1]);
  queue.end(new Error("gone"));
  queue.end(new Error("again"));
  assertEquals(await queue.next(), { done: false, value: 1 });
  await assertRejects(() => queue.next(), Error, "gone");
  assertEquals(await queue.next(), { done: true, value: undefined });
});

Deno.test("leaving drops what waits, ends a reader, and is told once", async () => {
  const { queue, left } = queueOf(3);
  queue.push([1, 2]);
  await queue.return();
  assertEquals(await queue.next(), { done: true, value: undefined });
  assertEquals(queue.push([3]), true); // to nobody
  assertEquals(await queue.next(), { done: true, value: undefined });
  await queue.return();
  assertEquals(left(), 1);

  const other = queueOf(3).queue;
  const waiting = other.next();
  await assertRejects(() => other.next(), Error, "one reader at a time");
  await other.return();
  assertEquals(await waiting, { done: true, value: undefined });
});

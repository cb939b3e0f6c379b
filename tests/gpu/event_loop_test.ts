import { assert, assertEquals } from "@std/assert";
import { eventLoopTurn } from "../../src/gpu/event_loop.ts";

Deno.test("eventLoopTurn() lets timers and messages through", async () => {
  const worker = new Worker(
    "data:application/javascript,onmessage = ({ data }) => postMessage(data + 1);",
    { type: "module" },
  );
  const heard: number[] = [];
  worker.onmessage = ({ data }) => heard.push(data);
  for (let i = 0; i < 3; i++) worker.postMessage(i);
  let isRung = false;
  const timer = setTimeout(() => isRung = true, 5);
  let turns = 0;
  const until = performance.now() + 10_000; // never so long
  while ((heard.length < 3 || !isRung) && performance.now() < until) {
    await eventLoopTurn();
    turns++;
  }
  clearTimeout(timer);
  worker.terminate();
  assertEquals(heard, [1, 2, 3]);
  assert(isRung && turns > 10, `${turns} turns`);
});

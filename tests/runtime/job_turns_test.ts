import { assert, assertEquals } from "@std/assert";
import type { Part, Turns } from "../../src/gpu/turns.ts";
import type { JobInfo } from "../../src/runtime/jobs.ts";
import { JobTurns, PART_MS } from "../../src/runtime/job_turns.ts";
import { spin } from "../support/fake_backend.ts";

/** What a job of one long step saw. */
interface Seen {
  /** partMs of each part, as it began. */
  readonly partMs: number[];
  readonly parts: Part[];
  isClosed: boolean;
}

/** Jobs that do all of their work in one step, of parts that block. */
function longJob(parts: number, ms: number, idle = () => Promise.resolve()) {
  const seen: Seen = { partMs: [], parts: [], isClosed: false };
  const told: JobInfo[] = [];
  let woken = 0;
  const turns = new JobTurns({
    kinds: {
      long: (_, turns: Turns) =>
        Promise.resolve({
          events: (async function* () {
            for (let part = 0; part < parts; part++) {
              seen.parts.push(await turns.begin());
              seen.partMs.push(turns.partMs);
              spin(ms);
            }
            yield "done";
          })(),
          close: () => void (seen.isClosed = true),
        }),
    },
    share: 0.5,
    idle,
    told: (info) => told.push(info),
    woke: () => woken++,
  });
  turns.queue.start("long", {});
  return { turns, seen, told, woken: () => woken };
}

const tick = () => new Promise((resolve) => setTimeout(resolve, 0));
/** Waits until the job wants its next part. */
async function ready(turns: JobTurns): Promise<void> {
  for (let i = 0; !turns.isReady; i++) {
    assert(i < 1000, "it never was ready");
    await tick();
  }
}
/** Gives the job every turn that it wants, to its end. */
async function finished(turns: JobTurns): Promise<void> {
  while (turns.queue.hasWork) {
    if (turns.isReady) await turns.take();
    else await tick();
  }
}

Deno.test("beside texts a turn is one part, however long the step is", async () => {
  const { turns, seen, told, woken } = longJob(4, 3);
  turns.share(true);
  for (let part = 1; part <= 4; part++) {
    await ready(turns);
    const before = woken();
    await turns.take();
    assertEquals(seen.parts.length, part);
    await tick();
    assertEquals(seen.parts.length, part, "it went on without a turn");
    assert(woken() > before);
    const { ms } = seen.parts.at(-1)!;
    assert(ms !== undefined && ms >= 3, `a part of ${ms} ms`);
  }
  assertEquals(seen.partMs, [PART_MS, PART_MS, PART_MS, PART_MS]);
  await finished(turns);
  const { state, event, spentMs } = told.at(-1)!;
  assertEquals([state, event, seen.isClosed], ["done", "done", true]);
  assert(spentMs >= 12, `${spentMs} ms`);
});

Deno.test("a job owes what it had beyond its share, and is owed what it lacks", async () => {
  const { turns } = longJob(4, 10);
  turns.share(true);
  assertEquals(turns.owedMs, 0);
  await turns.take();
  assert(turns.owedMs <= -10, `${turns.owedMs} ms`);
  turns.addText(1e5);
  assert(turns.owedMs > 0, `${turns.owedMs} ms`);
  turns.share(false);
  assertEquals(turns.owedMs, 0); // nobody to share with: a new account
  await turns.close(new Error("over"));
});

Deno.test("with the GPU to itself a step is not cut, and lets messages through", async () => {
  const { turns, seen, told } = longJob(40, 5);
  turns.share(false);
  let heard = 0;
  const messages = setInterval(() => heard++, 1);
  await finished(turns);
  clearInterval(messages);
  assert(heard >= 2, `${heard} messages in 200 ms`);
  assertEquals([seen.parts.length, told.at(-1)!.state], [40, "done"]);
  assert(seen.partMs.every((ms) => ms === Infinity));
  assert(told.at(-1)!.spentMs >= 200, `${told.at(-1)!.spentMs} ms`);
});

Deno.test("texts that come in the middle of a step have their turn after a part", async () => {
  const { turns, seen } = longJob(1000, 2);
  turns.share(false);
  let sharedMs = Infinity;
  setTimeout(() => {
    turns.share(true);
    sharedMs = performance.now();
  }, 1);
  while (!turns.isReady || seen.parts.length === 0) {
    if (turns.isReady) await turns.take();
    else await tick();
  }
  const begun = seen.parts.length;
  assert(begun < 100, `${begun} parts of 2 ms before it asked`);
  const mostMs = performance.now() - sharedMs + 1;
  assert(turns.owedMs >= -mostMs, `${turns.owedMs} ms: what it had to itself counts`);
  await turns.close(new Error("over"));
});

Deno.test("closing ends a job that waits for its turn", async () => {
  const { turns, seen, told } = longJob(4, 1);
  turns.share(true);
  await turns.take();
  await turns.close(new Error("it was closed"));
  const { state, error } = told.at(-1)!;
  assertEquals([state, error, seen.isClosed, seen.parts.length], [
    ...["failed", "it was closed"],
    ...[true, 1],
  ]);
  assertEquals(turns.isReady, false);
});

Deno.test("what goes wrong in the work of a part is its job's failure", async () => {
  let isBroken = false;
  const idle = () => isBroken ? Promise.reject(new Error("out of memory")) : Promise.resolve();
  const { turns, seen, told } = longJob(4, 1, idle);
  turns.share(true);
  await turns.take();
  isBroken = true;
  await ready(turns);
  await turns.take();
  isBroken = false;
  await finished(turns);
  assertEquals([told.at(-1)!.state, told.at(-1)!.error], ["failed", "out of memory"]);
  assertEquals(seen.parts.length, 2);
});

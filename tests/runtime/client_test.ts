import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { TextEvent } from "../../src/infer/request.ts";
import type { ClientOptions } from "../../src/runtime/client.ts";
import { type CoreOptions, RuntimeCore } from "../../src/runtime/core.ts";
import { openLocal } from "../../src/runtime/local.ts";
import { FakeBackend, spin } from "../support/fake_backend.ts";

/** A run with two checkpoints, of which step 1 is current. */
function twoSteps(): FakeBackend {
  return new FakeBackend({ a: { steps: [1, 2], current: 1 } });
}

function openFake(
  backend: FakeBackend,
  options: Partial<CoreOptions> = {},
  clientOptions: ClientOptions = {},
) {
  return openLocal<CoreOptions>(
    (core, listener) => RuntimeCore.open(backend, core, listener),
    { runs: Object.keys(backend.runs), ...options },
    clientOptions,
  );
}

async function read(stream: AsyncIterable<TextEvent>): Promise<TextEvent[]> {
  return await Array.fromAsync(stream);
}

/** "start", ids of choice 0, "end:reason" and so on: short enough to compare. */
function shorten(events: readonly TextEvent[]): (string | number)[] {
  return events.map((event) => {
    if (event.kind === "token") {
      return event.choice === 0 ? event.id : `${event.choice}:${event.id}`;
    }
    return event.kind === "end" ? `${event.choice}:${event.reason}` : event.kind;
  });
}

const asked = (maxTokens: number) => ({ prompt: [1], maxTokens });
const until = async (holds: () => boolean) => {
  for (let i = 0; !holds(); i++) {
    assert(i < 1000, "it never came to hold");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
};

Deno.test("events of a text come in order, and closing gives everything back", async () => {
  const backend = twoSteps();
  const runtime = await openFake(backend);
  assertEquals(runtime.models().map(({ id }) => id), ["a", "a@1", "a@2"]);
  const streams = [
    runtime.generate("a", { ...asked(3), choices: 2 }),
    runtime.generate("a", asked(1)),
  ];
  const [two, one] = await Promise.all(streams.map(read));
  assertEquals(shorten(two!), [
    ...["start", 1000, "1:1000", 1001, "1:1001", 1002, "0:length", "1:1002", "1:length", "done"],
  ]);
  assertEquals(shorten(one!), ["start", 1000, "0:length", "done"]);
  assertEquals(shorten(await read(runtime.generate("a@2", asked(2)))), [
    ...["start", 2000, 2001, "0:length", "done"],
  ]);
  await runtime.close();
  assertEquals([runtime.status().liveBuffers, backend.isClosed], [0, true]);
  assertThrows(() => runtime.generate("a", asked(1)), Error, "it was closed");
});

Deno.test("with nothing to do no turn is taken, and a request is heard at once", async () => {
  let turns = 0;
  const runtime = await openLocal<CoreOptions>(async (options, listener) => {
    const core = await RuntimeCore.open(twoSteps(), options, listener);
    const turn = core.turn.bind(core);
    core.turn = () => {
      turns++;
      return turn();
    };
    return core;
  }, { runs: ["a"] });
  await read(runtime.generate("a", asked(3)));
  await new Promise((resolve) => setTimeout(resolve, 20));
  const before = turns;
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertEquals(turns, before);
  assertEquals((await read(runtime.generate("a", asked(3)))).length, 6);
  assert(turns < before + 12, `${turns - before} turns for 3 tokens`);
  await runtime.close();
});

Deno.test("what does not fit is refused: the model at once, the request to its reader", async () => {
  const runtime = await openFake(twoSteps());
  assertThrows(() => runtime.generate("a@9", asked(1)), RangeError, '"a@9": one of a, a@1, a@2');
  await assertRejects(
    () => read(runtime.generate("a", { prompt: [], maxTokens: 1 })),
    RangeError,
    "a prompt: it is empty",
  );
  await runtime.close();
});

Deno.test("status tells of rows, tokens a second, and the prefix cache of engines that are gone", async () => {
  const backend = twoSteps();
  backend.stepMs = 5;
  const runtime = await openFake(backend);
  assertEquals(runtime.status().tokensPerSecond, 0);
  const stream = runtime.generate("a", { ...asked(20), choices: 3 });
  const events: TextEvent[] = [];
  for await (const event of stream) {
    events.push(event);
    if (events.length === 10) {
      const { running, cacheUsage, liveBuffers, adapter } = runtime.status();
      assertEquals([running, cacheUsage, liveBuffers, adapter], [3, 0.5, 2, "fake adapter"]);
    }
  }
  await until(() => runtime.status().running === 0);
  // 3 tokens in 5 ms and what the loop takes.
  const { tokensPerSecond } = runtime.status();
  assert(tokensPerSecond > 50 && tokensPerSecond <= 600, `${tokensPerSecond} tokens/s`);
  assertEquals(runtime.status().prefixQueries, 7);
  backend.runs.a!.current = 2;
  await runtime.swap("a");
  await read(runtime.generate("a", asked(1)));
  assertEquals([runtime.status().prefixQueries, runtime.status().prefixHits], [14, 6]);
  assertEquals(runtime.status().liveBuffers, 2); // the old one is gone
  await runtime.close();
});

Deno.test("one choice is cancelled, or all, by the listener, a signal or leaving", async () => {
  const backend = twoSteps();
  const runtime = await openFake(backend);
  const stream = runtime.generate("a", { ...asked(30), choices: 2 });
  const events: TextEvent[] = [];
  for await (const event of stream) {
    events.push(event);
    if (events.length === 5) stream.cancel(1);
  }
  const texts = [0, 1].map((choice) =>
    events.filter((event) => event.kind === "token" && event.choice === choice).length
  );
  assertEquals(texts[0], 30);
  assert(texts[1]! <= 6, `${texts[1]} tokens after it was cancelled`);
  assert(shorten(events).includes("1:cancelled"));

  const aborter = new AbortController();
  const aborted: TextEvent[] = [];
  for await (const event of runtime.generate("a", asked(1e6), { signal: aborter.signal })) {
    aborted.push(event);
    if (aborted.length === 4) aborter.abort();
  }
  assertEquals(shorten(aborted).slice(-2), ["0:cancelled", "done"]);
  assert(aborted.length < 12);

  for await (const _ of runtime.generate("a", asked(1e6))) break;
  await until(() => runtime.status().running === 0);

  const early = await read(runtime.generate("a@2", asked(9), { signal: AbortSignal.abort() }));
  assertEquals(shorten(early), ["0:cancelled", "done"]); // before its weights were there
  await runtime.close();
});

Deno.test("a listener that is too slow loses its text, and holds up no other", async () => {
  const runtime = await openFake(twoSteps(), {}, { mostWaiting: 20 });
  const slow = runtime.generate("a", asked(1e6));
  const quick = await read(runtime.generate("a", asked(50)));
  assertEquals(quick.length, 53);
  await until(() => runtime.status().running === 0);
  let count = 0;
  await assertRejects(
    async () => {
      for await (const _ of slow) count++;
    },
    Error,
    "at most 20 events that wait to be read: the listener is too slow",
  );
  assertEquals(count, 20);
  await runtime.close();
});

Deno.test("a swap in the middle of a text: it ends on the old weights, the next has the new", async () => {
  const backend = twoSteps();
  const runtime = await openFake(backend);
  const stream = runtime.generate("a", asked(40));
  const old: TextEvent[] = [];
  let young: Promise<TextEvent[]> | undefined;
  for await (const event of stream) {
    old.push(event);
    if (old.length !== 5) continue;
    backend.runs.a!.current = 2;
    assertEquals((await runtime.swap("a")).step, 2);
    assertEquals(runtime.models()[0]!.step, 2); // before the answer
    young = read(runtime.generate("a", asked(2)));
  }
  assertEquals(
    old.filter(({ kind }) => kind === "token").map((event) => "id" in event && event.id),
    [
      ...Array.from({ length: 40 }, (_, index) => 1000 + index),
    ],
  );
  assertEquals(shorten(await young!), ["start", 2000, 2001, "0:length", "done"]);
  await until(() => backend.log.at(-1) === "-a@1");
  await assertRejects(() => runtime.swap("b"), RangeError, "it is not served");
  await runtime.close();
});

Deno.test("an old version with work under way is given back after it, not in it", async () => {
  const backend = twoSteps();
  backend.tailSteps = 10;
  const runtime = await openFake(backend);
  for (const step of [2, 1, 2]) {
    await read(runtime.generate("a", asked(3)));
    backend.runs.a!.current = step;
    await runtime.swap("a"); // in the middle of the steps that follow the last token
    assert(!backend.log.at(-1)!.startsWith("-"), "it was given back at once");
    await until(() => backend.log.at(-1)!.startsWith("-"));
  }
  assertEquals(backend.log, ["a@1", "a@2", "-a@1", "a@1", "-a@2", "a@2", "-a@1"]);
  assertEquals(runtime.status().failure, undefined);
  await runtime.close();
});

Deno.test("an engine that throws ends its texts; others and later ones go on", async () => {
  const backend = new FakeBackend({
    a: { steps: [1], current: 1 },
    b: { steps: [2], current: 2 },
  });
  const runtime = await openFake(backend);
  const [first, second] = [
    runtime.generate("a", asked(1e6)),
    read(runtime.generate("b", asked(9))),
  ];
  const ending = assertRejects(() => read(first), Error, "it broke");
  await until(() => runtime.status().running > 0);
  await second;
  backend.stepError = new Error("it broke");
  await ending;
  assertEquals((await read(runtime.generate("a", asked(2)))).length, 5);
  assert(backend.log.includes("renewed a@1"));
  assertEquals(runtime.status().failure, undefined);
  await runtime.close();
  assertEquals(runtime.status().liveBuffers, 0);
});

Deno.test("a lost device ends everything, with what to do", async () => {
  const backend = twoSteps();
  backend.jobKinds.wait = () =>
    Promise.resolve({
      events: (async function* () {
        for (;;) yield await new Promise((resolve) => setTimeout(resolve, 1));
      })(),
      close() {},
    });
  const runtime = await openFake(backend);
  const text = assertRejects(
    () => read(runtime.generate("a", asked(1e6))),
    Error,
    "start the program",
  );
  const { id } = await runtime.startJob("wait", {});
  await until(() => runtime.status().running > 0);
  backend.lose();
  await text;
  assertEquals((await runtime.jobEnded(id)).state, "failed");
  assert(runtime.status().failure!.includes("it was lost"), runtime.status().failure);
  assertThrows(() => runtime.generate("a", asked(1)), Error, "it was lost");
  await assertRejects(() => runtime.swap("a"), Error, "it was lost");
  await runtime.drain();
  await runtime.close();
  assertEquals(backend.isClosed, true);
});

Deno.test("draining waits for texts, or cancels them when its signal aborts", async () => {
  const runtime = await openFake(twoSteps());
  await runtime.drain();
  const texts = read(runtime.generate("a", asked(10)));
  await runtime.drain();
  assertEquals((await texts).length, 13);
  const endless = read(runtime.generate("a", asked(1e6)));
  await runtime.drain(AbortSignal.timeout(30));
  assertEquals(shorten(await endless).slice(-2), ["0:cancelled", "done"]);
  await runtime.close();
});

Deno.test("closing in the middle of texts, jobs and swaps ends them all", async () => {
  const backend = new FakeBackend({ a: { steps: [1, 2, 3], current: 1 } });
  const runtime = await openFake(backend);
  const texts = ["a", "a@2"].map((model) =>
    assertRejects(() => read(runtime.generate(model, asked(1e6))), Error, "it was closed")
  );
  await until(() => runtime.status().running === 2);
  backend.runs.a!.current = 3;
  const swap = assertRejects(() => runtime.swap("a"), Error, "it was closed");
  await Promise.all([runtime.close(), runtime.close(), ...texts, swap]);
  assertEquals(runtime.status().liveBuffers, 0);
  assert(backend.engines.every(({ isDestroyed }) => isDestroyed));
});

Deno.test("a runtime that cannot open says why and is closed", async () => {
  const backend = twoSteps();
  backend.limitBytes = 10;
  await assertRejects(() => openFake(backend), Error, "want at most 10 bytes of GPU memory");
  assertEquals(backend.isClosed, true);
});

/** A job of steps that block; it counts what it was asked for. */
function blockingJob(backend: FakeBackend, steps: number, ms: number) {
  const seen = { steps: 0, closed: 0, stopped: false };
  backend.jobKinds.block = (parameters) =>
    Promise.resolve({
      events: (async function* () {
        while (seen.steps < steps && !seen.stopped) {
          spin(ms);
          yield { step: ++seen.steps, parameters };
        }
      })(),
      stop: () => seen.stopped = true,
      close: () => void seen.closed++,
    });
  return seen;
}

Deno.test("a job tells what it does, and has the GPU to itself while nobody writes", async () => {
  const backend = twoSteps();
  const seen = blockingJob(backend, 5, 1);
  const runtime = await openFake(backend);
  const told: unknown[] = [];
  runtime.onJob(({ id, state }, events) => id === 1 && told.push(state, ...events));
  const job = await runtime.startJob("block", { size: 3 });
  assertEquals([job.id, job.kind, job.state], [1, "block", "waiting"]);
  const second = await runtime.startJob("block", {}); // waits for the first
  const ended = await runtime.jobEnded(job.id);
  assertEquals([ended.state, ended.event], ["done", { step: 5, parameters: { size: 3 } }]);
  assert(ended.spentMs >= 5, `${ended.spentMs} ms`);
  assertEquals((await runtime.jobEnded(second.id)).state, "done");
  assertEquals(told.slice(0, 4), [
    ...["waiting", "running", "running", { step: 1, parameters: { size: 3 } }],
  ]);
  assertEquals([told.length, told.at(-1)], [2 + 5 * 2 + 1, "done"]);
  assertEquals([seen.closed, backend.idled], [2, 0]);
  assertEquals(runtime.jobs().map(({ state }) => state), ["done", "done"]);
  await assertRejects(() => runtime.startJob("none", {}), RangeError, "a kind of block");
  await assertRejects(() => runtime.cancelJob(9), RangeError, "there is none");
  await runtime.close();
});

Deno.test("beside texts a job has its share of the time", async () => {
  const backend = twoSteps();
  backend.stepMs = 7;
  blockingJob(backend, 1e6, 9);
  const runtime = await openFake(backend, { jobShare: 0.4 });
  const startMs = performance.now();
  const text = read(runtime.generate("a", asked(60)));
  const { id } = await runtime.startJob("block", {});
  await text;
  const textsMs = performance.now() - startMs;
  const { spentMs } = runtime.jobs()[0]!;
  // Of all the time: what else there was, as the yields between turns, is little.
  assertAlmostEquals(spentMs / textsMs, 0.4, 0.1, `${spentMs} of ${textsMs} ms`);
  assert(backend.idled > 10); // its work was waited for before its time was known
  await runtime.cancelJob(id);
  assertEquals((await runtime.jobEnded(id)).state, "cancelled");
  await runtime.close();
});

Deno.test("a job's step that takes long does not hold up texts", async () => {
  const backend = twoSteps();
  const release = Promise.withResolvers<void>();
  backend.jobKinds.long = () =>
    Promise.resolve({
      events: (async function* () {
        await release.promise; // an evaluation, a save
        yield "late";
      })(),
      close() {},
    });
  const runtime = await openFake(backend);
  const { id } = await runtime.startJob("long", {});
  assertEquals((await read(runtime.generate("a", asked(20)))).length, 23);
  assertEquals(runtime.jobs()[0]!.state, "running");
  release.resolve();
  const ended = await runtime.jobEnded(id);
  assertEquals([ended.state, ended.event], ["done", "late"]);
  await runtime.close();
});

Deno.test("a job that fails, in its parameters or on its way, takes no text with it", async () => {
  const backend = twoSteps();
  let closed = 0;
  backend.jobKinds.bad = (parameters) => {
    if (parameters === null) return Promise.reject(new RangeError("Cannot start: parameters"));
    return Promise.resolve({
      events: (async function* () {
        yield 1;
        throw new Error("no number");
      })(),
      close: () => void closed++,
    });
  };
  const runtime = await openFake(backend);
  const text = read(runtime.generate("a", asked(40)));
  const ids = [await runtime.startJob("bad", null), await runtime.startJob("bad", {})];
  const [first, second] = await Promise.all(ids.map(({ id }) => runtime.jobEnded(id)));
  assertEquals([first!.state, first!.error], ["failed", "Cannot start: parameters"]);
  assertEquals([second!.state, second!.error, second!.event], ["failed", "no number", 1]);
  assertEquals([(await text).length, closed], [43, 1]);
  await runtime.close();
});

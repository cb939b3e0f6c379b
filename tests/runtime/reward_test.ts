import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { eventLoopTurn } from "../../src/gpu/event_loop.ts";
import { type CoreOptions, RuntimeCore } from "../../src/runtime/core.ts";
import { openLocal } from "../../src/runtime/local.ts";
import { SilentEngine } from "../../src/runtime/silent_engine.ts";
import { FakeBackend } from "../support/fake_backend.ts";

/** A reward model of three versions, and a run that writes. */
function twoRuns(): FakeBackend {
  const backend = new FakeBackend({
    rm: { steps: [1, 2, 3], current: 1 },
    plain: { steps: [1], current: 1 },
  });
  backend.rewards = ["rm"];
  return backend;
}

function open(backend: FakeBackend) {
  return openLocal<CoreOptions>(
    (core, listener) => RuntimeCore.open(backend, core, listener),
    { runs: Object.keys(backend.runs) },
  );
}

const dialogues = (...tokens: number[]) => tokens.map((token) => Uint32Array.of(token));

Deno.test("rewards have the bias of their version, and come in batches", async () => {
  const backend = twoRuns();
  const runtime = await open(backend);
  const hold = await runtime.holdReward("rm@2");
  assertEquals(hold.model.id, "rm@2");
  assertEquals(await hold.score(dialogues(4, 5, 6, 7)), [5, 6, 7, 8]); // a bias of 1
  assertEquals(backend.batches, [[4, 5, 6], [7]]);
  assertEquals(await hold.score([]), []);
  hold.release();
  hold.release();
  await assertRejects(() => hold.score(dialogues(1)), Error, "it was let go");
  await runtime.close();
  assertEquals(runtime.status().liveBuffers, 0);
});

Deno.test("a held version scores after a swap; new requests have the new one", async () => {
  const backend = twoRuns();
  const runtime = await open(backend);
  const old = await runtime.holdReward("rm");
  assertEquals((await runtime.swap("rm", 3)).step, 3);
  assertEquals(runtime.models()[0]!.reward!.bias, 1.5);
  const young = await runtime.holdReward("rm");
  assertEquals([old.model.id, young.model.id], ["rm@1", "rm@3"]);
  assertEquals([await old.score(dialogues(4)), await young.score(dialogues(4))], [[4.5], [5.5]]);
  // The version goes with its last hold, and a rollback is one call.
  old.release();
  young.release();
  while (!backend.log.includes("-rm@1")) await eventLoopTurn();
  assertEquals((await runtime.swap("rm", 1)).step, 1);
  const again = await runtime.holdReward("rm");
  assertEquals([again.model.id, await again.score(dialogues(4))], ["rm@1", [4.5]]);
  again.release();
  while (!backend.log.includes("-rm@3")) await eventLoopTurn();
  assertEquals(backend.log.filter((line) => line.startsWith("-rm")), ["-rm@1", "-rm@3"]);
  await runtime.close();
});

Deno.test("a swap to a version that is not there leaves what is served", async () => {
  const backend = twoRuns();
  const runtime = await open(backend);
  await assertRejects(() => runtime.swap("rm", 9), Error, "want step 9");
  await assertRejects(() => runtime.swap("nobody"), RangeError, "it is not served");
  const hold = await runtime.holdReward("rm");
  assertEquals(hold.model.id, "rm@1");
  await runtime.close();
});

Deno.test("a model that writes has no reward, and one that scores writes nothing", async () => {
  const runtime = await open(twoRuns());
  await assertRejects(() => runtime.holdReward("plain"), RangeError, "a reward model: it is none");
  await assertRejects(() => runtime.holdReward("x"), RangeError, "there is no such model");
  const request = { prompt: [1], maxTokens: 1 };
  assertThrows(() => runtime.generate("rm", request), RangeError, "which only scores");
  await runtime.close();
  await assertRejects(() => runtime.holdReward("rm"), Error, "it was closed");
});

Deno.test("the engine of a reward model refuses, and is never busy", async () => {
  const engine = new SilentEngine("rm");
  assertThrows(() => engine.submit(), RangeError, 'Cannot generate with "rm"');
  assertEquals([await engine.step(), engine.stats.running], [false, 0]);
});

import { assertEquals, assertRejects } from "@std/assert";
import { CannotError } from "../../src/config/cannot.ts";
import type { LoadedModel } from "../../src/runtime/backend.ts";
import { type Lease, Versions } from "../../src/runtime/versions.ts";
import { FakeBackend } from "../support/fake_backend.ts";

type Held = Lease<LoadedModel>;

/** Lets everything that can go on do so. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** Whether a promise has been kept or broken by now. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  await settle();
  return await Promise.race([promise.then(() => false, () => false), Promise.resolve(true)]);
}

const steps = (held: Held) => held.model.step;

Deno.test("versions are listed by name and by step, the default run first", async () => {
  const backend = new FakeBackend({
    a: { steps: [1, 2], current: 2 },
    b: { steps: [5], current: 5 },
  });
  const versions = await Versions.open(["b", "a"], backend);
  assertEquals(versions.models().map(({ id }) => id), ["b", "b@5", "a", "a@1", "a@2"]);
  assertEquals(backend.log, ["b@5", "a@2"]); // only what is current is loaded
  versions.close();
  assertEquals(backend.log.slice(2), ["-b@5", "-a@2"]);
});

Deno.test("a name and its step are one version; an unknown one is named with those known", async () => {
  const backend = new FakeBackend({ a: { steps: [1, 2], current: 2 } });
  const versions = await Versions.open(["a"], backend);
  const [byName, byStep] = [await versions.lease("a"), await versions.lease("a@2")];
  assertEquals(byName.value, byStep.value);
  for (const id of ["a@3", "b", ""]) {
    await assertRejects(() => versions.lease(id), RangeError, `"${id}": one of a, a@1, a@2`);
  }
  await assertRejects(() => versions.swap("b"), RangeError, "one of a: it is not served");
  await assertRejects(() => Versions.open([], backend), RangeError, "one or more runs");
  await assertRejects(() => Versions.open(["a", "a"], backend), RangeError, "each once");
});

Deno.test("a swap: new requests get the new version, the old goes with its last row", async () => {
  const backend = new FakeBackend({ a: { steps: [1], current: 1 } });
  const versions = await Versions.open(["a"], backend);
  const old = [await versions.lease("a"), await versions.lease("a")];
  backend.runs.a = { steps: [1, 2], current: 2 };
  assertEquals((await versions.swap("a")).step, 2);
  const young = await versions.lease("a");
  assertEquals([...old, young].map(steps), [1, 1, 2]);
  assertEquals(versions.models().map(({ id, step }) => [id, step]), [["a", 2], ["a@1", 1], [
    "a@2",
    2,
  ]]);
  old[0]!.release();
  old[0]!.release(); // a second time is none
  assertEquals(backend.log, ["a@1", "a@2"]);
  old[1]!.release();
  assertEquals(backend.log, ["a@1", "a@2", "-a@1"]);
  young.release(); // it is current: it stays
  assertEquals(backend.log.length, 3);
});

Deno.test("a swap without rows gives the old version back at once; to itself it is none", async () => {
  const backend = new FakeBackend({ a: { steps: [1, 2], current: 1 } });
  const versions = await Versions.open(["a"], backend);
  await versions.swap("a");
  assertEquals(backend.log, ["a@1"]);
  backend.runs.a!.current = 2;
  await versions.swap("a");
  assertEquals(backend.log, ["a@1", "a@2", "-a@1"]);
});

Deno.test("a third version waits until one of two has no rows", async () => {
  const backend = new FakeBackend({ a: { steps: [1, 2, 3], current: 1 } });
  const versions = await Versions.open(["a"], backend);
  const first = await versions.lease("a");
  backend.runs.a!.current = 2;
  await versions.swap("a");
  backend.runs.a!.current = 3;
  const third = versions.swap("a");
  assertEquals(await isPending(third), true);
  const second = await versions.lease("a"); // requests go on meanwhile
  assertEquals(steps(second), 2);
  assertEquals(backend.log, ["a@1", "a@2"]);
  first.release();
  assertEquals((await third).step, 3);
  assertEquals(backend.log, ["a@1", "a@2", "-a@1", "a@3"]);
  second.release();
  assertEquals(backend.log.at(-1), "-a@2");
});

Deno.test("a kept version is loaded when it is asked for, and stays until its place is", async () => {
  const backend = new FakeBackend({ a: { steps: [1, 2, 3], current: 3 } });
  const versions = await Versions.open(["a"], backend);
  (await versions.lease("a@1")).release();
  const again = await versions.lease("a@1");
  assertEquals(backend.log, ["a@3", "a@1"]);
  const other = versions.lease("a@2");
  assertEquals(await isPending(other), true);
  // Who asks for a@1 now comes after who waits for its place.
  const late = versions.lease("a@1");
  assertEquals(await isPending(late), true);
  assertEquals(steps(await versions.lease("a")), 3); // the current one never waits
  again.release();
  assertEquals(steps(await other), 2);
  (await other).release();
  assertEquals(steps(await late), 1);
  assertEquals(backend.log.slice(2), ["-a@1", "a@2", "-a@2", "a@1"]);
});

Deno.test("memory: what never fits is said before loading, what will fit waits", async () => {
  const backend = new FakeBackend({
    a: { steps: [1, 2], current: 1 },
    b: { steps: [1], current: 1 },
  });
  backend.limitBytes = 99;
  await assertRejects(
    () => Versions.open(["a"], backend),
    CannotError,
    "Cannot serve a, step 1: want at most 99 bytes of GPU memory: it needs 100 beside 0",
  );
  backend.limitBytes = 199;
  await assertRejects(
    () => Versions.open(["a", "b"], backend),
    CannotError,
    "it needs 100 beside 100",
  );
  assertEquals(backend.log, ["a@1", "-a@1"]); // what was loaded is given back

  backend.limitBytes = 300;
  const versions = await Versions.open(["a", "b"], backend);
  const held = await versions.lease("a@2");
  backend.runs.b = { steps: [1, 9], current: 9 };
  const swap = versions.swap("b");
  assertEquals(await isPending(swap), true);
  held.release();
  assertEquals((await swap).step, 9);
  assertEquals(backend.log.slice(2), ["a@1", "b@1", "a@2", "-a@2", "b@9", "-b@1"]);
});

Deno.test("a load that fails leaves what is served, and closing wakes who waits", async () => {
  const backend = new FakeBackend({ a: { steps: [1, 2, 3], current: 1 } });
  const versions = await Versions.open(["a"], backend);
  const { load } = backend;
  backend.load = () => Promise.reject(new CannotError("read a checkpoint", "want it", "it is cut"));
  backend.runs.a!.current = 2;
  await assertRejects(() => versions.swap("a"), CannotError, "it is cut");
  assertEquals(versions.models()[0]!.step, 1);
  backend.load = load;
  const held = await versions.lease("a@3");
  const swap = versions.swap("a");
  assertEquals(await isPending(swap), true);
  versions.close();
  await assertRejects(() => swap, Error, "it was closed");
  await assertRejects(() => versions.lease("a"), Error, "it was closed");
  held.release(); // harmless
  assertEquals(backend.log.filter((line) => line.startsWith("-")).sort(), ["-a@1", "-a@3"]);
});

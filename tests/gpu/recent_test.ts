import { assertEquals, assertThrows } from "@std/assert";
import { Recent } from "../../src/gpu/recent.ts";

Deno.test("Recent gives back what was not used for longest", async () => {
  const gone: number[] = [];
  const made: number[] = [];
  const recent = new Recent<{ destroy(): void; key: number }>(2);
  const get = (key: number) =>
    recent.get(key, () => {
      made.push(key);
      return Promise.resolve({ key, destroy: () => gone.push(key) });
    });
  await get(16);
  await get(32);
  assertEquals((await get(16)).key, 16);
  await get(48);
  assertEquals(gone, [32]);
  await get(16);
  assertEquals(made, [16, 32, 48]);
  await get(32);
  assertEquals([gone, made], [[32, 48], [16, 32, 48, 32]]);
  assertEquals(recent.values.map(({ key }) => key), [16, 32]);
  recent.destroy();
  assertEquals(gone, [32, 48, 16, 32]);
  assertEquals(recent.values, []);
});

Deno.test("Recent keeps nothing of what could not be made", async () => {
  const recent = new Recent<{ destroy(): void }>(1);
  const fail = () => Promise.reject(new Error("no"));
  assertEquals(await recent.get(1, fail).catch((error) => error.message), "no");
  assertEquals(recent.values.length, 0);
  assertThrows(() => new Recent(0), RangeError, "Cannot keep recent things: 1 or more of them");
});

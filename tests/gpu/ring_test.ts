import { assertEquals, assertThrows } from "@std/assert";
import { ReadbackRing } from "../../src/gpu/ring.ts";
import { gpuTest } from "../support/gpu.ts";

gpuTest("ReadbackRing: values arrive in order, with their tags and types", async (device) => {
  const ring = new ReadbackRing<number>(device, { slots: 3, slotBytes: 64 });
  const loss = device.tensor("loss", [1]);
  const ids = device.tensor("ids", [3], "u32");
  const seen: number[] = [];
  for (let step = 0; step < 8; step++) {
    device.write(loss, Float32Array.of(step / 2));
    device.write(ids, Uint32Array.of(step, step + 1, step + 2));
    if (ring.full) seen.push((await ring.next())!.tag);
    const encoder = device.gpu.createCommandEncoder();
    ring.record(encoder, [loss, ids], step);
    device.gpu.queue.submit([encoder.finish()]);
    ring.submitted();
    for (const { tag } of ring.take()) seen.push(tag);
  }
  for (const { tag, values } of await ring.drain()) {
    assertEquals(values, [Float32Array.of(tag / 2), Uint32Array.of(tag, tag + 1, tag + 2)]);
    seen.push(tag);
  }
  assertEquals(seen, [0, 1, 2, 3, 4, 5, 6, 7]);
  assertEquals(await ring.next(), undefined);
  for (const owned of [ring, loss, ids]) owned.destroy();
});

gpuTest("ReadbackRing: a full ring and too large a value are refused", async (device) => {
  const ring = new ReadbackRing<void>(device, { slots: 1, slotBytes: 16 });
  const small = device.tensor("small", [4]);
  const large = device.tensor("large", [5]);
  const encoder = device.gpu.createCommandEncoder();
  assertThrows(() => ring.record(encoder, [large]), RangeError, "at most 16 bytes a slot: got 20");
  ring.record(encoder, [small]);
  assertThrows(() => ring.record(encoder, [small]), RangeError, "all 1 are in use");
  device.gpu.queue.submit([encoder.finish()]);
  ring.submitted();
  await ring.drain();
  for (const owned of [ring, small, large]) owned.destroy();
});

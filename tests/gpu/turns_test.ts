import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { read, readWrite, write } from "../../src/gpu/binding.ts";
import { Plan } from "../../src/gpu/plan.ts";
import type { Tensor } from "../../src/gpu/tensor.ts";
import { type Part, PartedReplay, type Turns } from "../../src/gpu/turns.ts";
import { gpuTest } from "../support/gpu.ts";
import { ADD, SCALE } from "./shaders.ts";

const COUNT = 64;

/** x ← x + 1.5 x, again and again: every item depends on the one before. */
async function chain(device: Device, x: Tensor, items: number): Promise<Plan> {
  const plan = new Plan(device, { label: "chain" });
  const part = plan.activation("part", [COUNT]);
  for (let item = 0; item < items; item += 2) {
    plan.dispatch(device.kernel(SCALE), {
      groups: [1],
      params: { count: COUNT, factor: 1.5, pad0: 0, pad1: 0 },
      bindings: [read(x), write(part)],
    });
    plan.dispatch(device.kernel(ADD), {
      groups: [1],
      params: { count: COUNT, pad0: 0, pad1: 0, pad2: 0 },
      bindings: [read(part), readWrite(x)],
    });
  }
  return await plan.seal();
}

/** Turns in which an item takes so long; a part's time is known when the next begins. */
class TimedTurns implements Turns {
  partMs = 10;
  msOfItem = 1;
  /** Items of each part. */
  parts: number[] = [];
  #last: { ms: number | undefined } | undefined;

  /** Counts what a plan encodes. */
  watch(plan: Plan): void {
    const encode = plan.encode.bind(plan);
    plan.encode = (encoder, range = {}) => {
      const { from = 0, to = plan.items.length } = range;
      this.parts[this.parts.length - 1]! += to - from;
      encode(encoder, range);
    };
  }

  begin(): Promise<Part> {
    if (this.#last) this.#last.ms = this.msOfItem * this.parts.at(-1)!;
    this.parts.push(0);
    this.#last = { ms: undefined };
    return Promise.resolve(this.#last);
  }
}

gpuTest("a replay in parts has the same bits, and parts as long as they may be", async (device) => {
  const data = Float32Array.from({ length: COUNT }, (_, i) => 1 + i / 7);
  const [whole, cut] = ["whole", "cut"].map((label) => device.upload(label, [COUNT], data));
  const plans = [await chain(device, whole!, 60), await chain(device, cut!, 60)];
  try {
    const turns = new TimedTurns();
    turns.watch(plans[1]!);
    const replay = new PartedReplay(device, turns);
    let ends = 0;
    const replayed = async () => {
      plans[0]!.replay();
      const before = turns.parts.length;
      await replay.run([plans[1]!], () => ends++);
      return turns.parts.slice(before);
    };
    const first = await replayed();
    assert(first.every((items) => items <= 16), `of what is not known yet: ${first}`);
    assertEquals(await replayed(), [10, 10, 10, 10, 10, 10]);
    turns.msOfItem = 5; // slower now; it is found out a replay late
    await replayed();
    const slower = await replayed();
    assert(slower.every((items) => items <= 5), `parts of ${slower} items of 5 ms`);
    turns.partMs = 1; // an item is not cut
    assertEquals(await replayed(), new Array(60).fill(1));
    assertEquals(ends, 5); // once a replay, with its last part
    assertEquals(await device.read(cut!), await device.read(whole!));
  } finally {
    for (const owned of [...plans, whole!, cut!]) owned.destroy();
  }
});

gpuTest("alone it is one submission; where no turn comes nothing is submitted", async (device) => {
  const x = device.upload("x", [COUNT], new Float32Array(COUNT).fill(1));
  const plan = await chain(device, x, 40);
  try {
    const turns = new TimedTurns();
    turns.partMs = Infinity;
    turns.watch(plan);
    await new PartedReplay(device, turns).run([plan, plan]);
    assertEquals(turns.parts, [80]);
    const before = await device.read(x);
    assert(Math.abs(before[0]! / 2.5 ** 40 - 1) < 1e-3, `${before[0]}`);
    const closed = new PartedReplay(device, {
      partMs: 1,
      begin: () => Promise.reject(new Error("it was closed")),
    });
    await assertRejects(() => closed.run([plan]), Error, "it was closed");
    assertEquals(await device.read(x), before);
  } finally {
    plan.destroy();
    x.destroy();
  }
});

/**
 * What replaying a plan costs in JavaScript: 150 small dispatches, recorded once.
 *
 * @module
 */
import { defineKernel } from "../src/gpu/kernel.ts";
import { read, write } from "../src/gpu/binding.ts";
import { Plan } from "../src/gpu/plan.ts";
import { median } from "../src/gpu/profile.ts";
import copySource from "../shaders/bench_copy.wgsl" with { type: "text" };
import { type Bench, check, timePlan } from "./harness.ts";

const COPY = defineKernel({
  label: "bench_copy",
  source: copySource,
  file: "shaders/bench_copy.wgsl",
});
const DISPATCHES = 150;
const COUNT = 1024;

/** `./brachio bench plan` */
export const bench: Bench = {
  name: "plan",
  summary: `a replay of ${DISPATCHES} dispatches that make no buffer and no bind group`,
  async run({ device, quick }) {
    const data = Float32Array.from({ length: COUNT }, (_, i) => i);
    const inp = device.upload("inp", [COUNT], data);
    const plan = new Plan(device, { label: "bench" });
    let last = inp;
    for (let i = 0; i < DISPATCHES; i++) {
      const out = plan.activation("out", [COUNT]);
      plan.dispatch(device.kernel(COPY, { PER_THREAD: 1 }, { WG_SIZE: 64 }), {
        groups: [COUNT / 4 / 64],
        params: { count: COUNT, pad0: 0, pad1: 0, pad2: 0 },
        bindings: [read(last), write(out)],
      });
      last = out;
    }
    plan.keep(last);
    await plan.seal();
    plan.replay();
    const errorShare = check("plan", await device.read(last), data, () => 1e-9);
    const before = JSON.stringify(device.counters);
    const timing = await timePlan(plan, { quick });
    const encodeMs: number[] = [];
    for (let run = 0; run < (quick ? 20 : 200); run++) {
      const start = performance.now();
      const encoder = device.gpu.createCommandEncoder();
      plan.encode(encoder);
      encoder.finish();
      encodeMs.push(performance.now() - start);
    }
    const made = JSON.stringify(device.counters) === before ? "none" : "some";
    if (made !== "none") throw new Error("Cannot bench plan: a replay that makes nothing: it did");
    plan.destroy();
    inp.destroy();
    const ms = median(encodeMs);
    return {
      rows: [{
        name: `replay of ${DISPATCHES} dispatches`,
        timing,
        errorShare,
        extra: {
          "encode ms": ms.toFixed(3),
          "µs a dispatch": (1000 * ms / DISPATCHES).toFixed(2),
          "buffers and bind groups made": made,
        },
      }],
    };
  },
};

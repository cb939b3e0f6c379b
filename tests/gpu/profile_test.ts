import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Device } from "../../src/gpu/device.ts";
import { Plan, read, write } from "../../src/gpu/plan.ts";
import { formatProfile, median, profile } from "../../src/gpu/profile.ts";
import { gpuTest, testDevice } from "../support/gpu.ts";
import { ADD, SCALE } from "./shaders.ts";

const timestamps = await testDevice().then((device) => device.features.has("timestamp-query"))
  .catch(() => false);

gpuTest("profile() tables kernels by time and states its own overhead", async (device) => {
  const inp = device.tensor("inp", [4096]);
  const plan = new Plan(device, { label: "profiled" });
  const count = 4096;
  const out = plan.activation("out", [count]);
  for (let i = 0; i < 3; i++) {
    plan.dispatch(device.kernel(SCALE), {
      groups: [64],
      params: { count, factor: 2, pad0: 0, pad1: 0 },
      bindings: [read(inp), write(out)],
      work: { flops: count },
    });
  }
  plan.clear(out);
  plan.dispatch(device.kernel(ADD), {
    groups: [64],
    params: { count, pad0: 0, pad1: 0, pad2: 0 },
    bindings: [read(inp), write(out)],
  });
  await plan.seal();
  const result = await profile(plan, { runs: 3, ceilings: { copyGBps: 8, fmaGFLOPs: 100 } });
  assertEquals(
    new Map(result.rows.map((r) => [r.label, r.dispatches])),
    new Map([["scale", 3], ["add", 1]]),
  );
  const scale = result.rows.find(({ label }) => label === "scale")!;
  assert(scale.ms > 0 && scale.gbps > 0 && scale.gflops > 0 && scale.share! > 0);
  assertEquals(scale.gbps / scale.gflops, 8, "eight bytes moved a multiplication");
  const text = formatProfile(result);
  assertStringIncludes(text, "encoding 4 dispatches");
  assertStringIncludes(text, "profiling adds");
  plan.destroy();
  inp.destroy();
}, { ignore: !timestamps });

gpuTest("profile() without timestamps says what it wants", async () => {
  const device = await Device.open();
  (device.features as Set<string>).delete("timestamp-query");
  const plan = await new Plan(device, { label: "p" }).seal();
  await assertRejects(() => profile(plan), Error, "the feature timestamp-query");
  plan.destroy();
  device.close();
});

Deno.test("median() of odd and even counts", () => {
  assertEquals(median([3, 1, 2]), 2);
  assertEquals(median([4, 1, 2, 3]), 2.5);
});

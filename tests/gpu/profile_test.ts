import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Device } from "../../src/gpu/device.ts";
import { read, write } from "../../src/gpu/binding.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { formatProfile, median, profile, timeTogether } from "../../src/gpu/profile.ts";
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

gpuTest(
  "timeTogether() gives each plan a time a round, over all its dispatches",
  async (device) => {
    const inp = device.tensor("inp", [1 << 16]);
    const made = async (dispatches: number) => {
      const plan = new Plan(device, { label: `${dispatches} dispatches` });
      const out = plan.activation("out", [1 << 16]);
      for (let i = 0; i < dispatches; i++) {
        plan.dispatch(device.kernel(SCALE), {
          groups: [1024],
          params: { count: 1 << 16, factor: 2, pad0: 0, pad1: 0 },
          bindings: [read(inp), write(out)],
        });
      }
      return await plan.seal();
    };
    const plans = [await made(1), await made(40), await made(0)];
    const [one, many, none] = await timeTogether(plans, 5);
    assertEquals([one!.length, many!.length, none], [5, 5, [0, 0, 0, 0, 0]]);
    assert(median(one!) > 0 && median(many!) > 4 * median(one!), `${one} and ${many}`);
    assertEquals(await timeTogether([], 3), []);
    for (const plan of plans) plan.destroy();
    inp.destroy();
  },
  { ignore: !timestamps },
);

gpuTest("profile() without timestamps says what it wants", async () => {
  const device = await Device.open();
  (device.features as Set<string>).delete("timestamp-query");
  const plan = await new Plan(device, { label: "p" }).seal();
  await assertRejects(() => profile(plan), Error, "the feature timestamp-query");
  await assertRejects(() => timeTogether([plan], 1), Error, "the feature timestamp-query");
  plan.destroy();
  device.close();
});

Deno.test("median() of odd and even counts", () => {
  assertEquals(median([3, 1, 2]), 2);
  assertEquals(median([4, 1, 2, 3]), 2.5);
});

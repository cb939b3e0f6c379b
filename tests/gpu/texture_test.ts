import { assertEquals, assertThrows } from "@std/assert";
import { defineKernel } from "../../src/gpu/kernel.ts";
import { read, texture, write } from "../../src/gpu/binding.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { ActivationPool } from "../../src/gpu/pool.ts";
import { gpuTest } from "../support/gpu.ts";

/** out = inp, vec4 by vec4, inp from a texture of 4,096 texels a row. */
const COPY = defineKernel({
  label: "texture_copy",
  file: "tests/gpu/texture_test.ts",
  source: `
struct Params { count: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var inp: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.count) { out[id.x] = textureLoad(inp, vec2u(id.x % 4096u, id.x / 4096u)); }
}`,
});
/** out = 2 inp, vec4 by vec4, from a buffer. */
const DOUBLE = defineKernel({
  label: "texture_double",
  file: "tests/gpu/texture_test.ts",
  source: `
struct Params { count: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.count) { out[id.x] = 2.0 * inp[id.x]; }
}`,
});

Deno.test("defineKernel() knows a texture and refuses another kind", () => {
  assertEquals(COPY.bindings.map(({ kind }) => kind), ["uniform", "texture", "read_write"]);
  const source = COPY.source.replace("rgba32float, read", "r32float, read_write");
  assertThrows(() => defineKernel({ ...COPY, source }), RangeError, `"inp" a texture_storage_2d`);
});

const kindsOf = (plan: Plan) => plan.items.map(({ kind }) => kind).join(" ");

gpuTest("a texture holds what its tensor held when it was last written", async (device) => {
  // One row of a texture, a row and a bit, and a window that begins and ends amid a tensor's rows.
  for (const [count, offset] of [[64, 0], [4 * 4096 + 20, 0], [9 * 4096 + 4, 64]] as const) {
    const data = Float32Array.from({ length: offset + count }, (_, i) => i + 1);
    const whole = device.upload("inp", [data.length], data);
    const inp = whole.view("window", [count], offset);
    const first = device.upload("first", [count], new Float32Array(count).fill(NaN));
    const second = device.upload("second", [count], new Float32Array(count).fill(NaN));
    const plan = new Plan(device, { label: "texture" });
    const params = { count: count / 4, pad0: 0, pad1: 0, pad2: 0 };
    const groups = [Math.ceil(count / 256)] as const;
    const kernels = [device.kernel(COPY), device.kernel(DOUBLE)] as const;
    const doubled = plan.activation("doubled", [count]);
    plan.dispatch(kernels[0], { groups, params, bindings: [texture(inp), write(first)] });
    plan.dispatch(kernels[1], { groups, params, bindings: [read(inp), write(doubled)] });
    plan.dispatch(kernels[0], { groups, params, bindings: [texture(doubled), write(second)] });
    // Written again: the copy that is there is of the old values.
    plan.dispatch(kernels[1], { groups, params, bindings: [read(second), write(doubled)] });
    plan.dispatch(kernels[0], { groups, params, bindings: [texture(doubled), write(second)] });
    // Not written since its first use.
    plan.dispatch(kernels[0], { groups, params, bindings: [texture(inp), write(first)] });
    const once = "copy dispatch";
    assertEquals(
      kindsOf(plan),
      `${once} dispatch ${once} dispatch ${once} dispatch`,
    );
    await plan.seal();
    plan.replay();
    const want = data.subarray(offset);
    assertEquals(await device.read(first), want);
    assertEquals(await device.read(second), want.map((x) => 4 * x));
    device.write(whole, data.map((x) => -x));
    plan.replay();
    assertEquals(await device.read(first), want.map((x) => -x));
    plan.destroy();
    for (const tensor of [whole, first, second]) tensor.destroy();
  }
});

gpuTest("a clear, and a write beside a view, end a copy", async (device) => {
  const inp = device.upload("inp", [128], new Float32Array(128).fill(3));
  const out = device.tensor("out", [64]);
  const plan = new Plan(device, { label: "texture" });
  const params = { count: 16, pad0: 0, pad1: 0, pad2: 0 };
  const half = inp.view("half", [64]);
  const use = () =>
    plan.dispatch(device.kernel(COPY), {
      groups: [1],
      params,
      bindings: [texture(half), write(out)],
    });
  use();
  plan.clear(inp);
  use();
  plan.dispatch(device.kernel(DOUBLE), {
    groups: [1],
    params,
    bindings: [read(out), write(inp.view("other", [64], 64))],
  });
  use();
  use();
  assertEquals(
    kindsOf(plan),
    "copy dispatch clear copy dispatch dispatch copy dispatch dispatch",
  );
  await plan.seal();
  plan.replay();
  assertEquals(await device.read(out), new Float32Array(64));
  plan.destroy();
  for (const tensor of [inp, out]) tensor.destroy();
});

gpuTest("plans that share a pool share textures", async (device) => {
  const pool = new ActivationPool(device);
  const before = device.liveBuffers;
  const [small, large] = [64, 8 * 4096].map((count) => device.tensor("inp", [count])) as [
    ReturnType<typeof device.tensor>,
    ReturnType<typeof device.tensor>,
  ];
  const out = device.tensor("out", [large.count]);
  const plans: Plan[] = [];
  for (const inp of [large, small, large]) {
    const plan = new Plan(device, { label: "texture" });
    const params = { count: inp.count / 4, pad0: 0, pad1: 0, pad2: 0 };
    plan.dispatch(device.kernel(COPY), {
      groups: [Math.ceil(inp.count / 256)],
      params,
      bindings: [texture(inp), write(out)],
    });
    plans.push(await plan.seal(pool));
  }
  // Three tensors, the uniforms of three plans, one texture.
  assertEquals(device.liveBuffers - before, 3 + 3 + 1);
  assertEquals(pool.sizeBytes, 2 * 65_536);
  for (const owned of [...plans, pool, small, large, out]) owned.destroy();
});

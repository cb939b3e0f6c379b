import { assert, assertEquals } from "@std/assert";
import type { Device } from "../../src/gpu/device.ts";
import { read, write } from "../../src/gpu/binding.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { defineStored, fromHalves, MOST_F16, toHalves } from "../../src/gpu/storage.ts";
import { gpuTest, poison } from "../support/gpu.ts";
import { integers, normal } from "../support/random.ts";

/** kept[i] = inp[i], as it is stored, and back. */
const KEEP = defineStored({
  label: "keep",
  file: "tests/gpu/keep.wgsl",
  source: `struct Params { count: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> inp: array<f32>;
@group(0) @binding(2) var<storage, read_write> kept: array<stored>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
// @include "storage.wgsl"
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = PER * id.x;
  if (i >= params.count) { return; }
  let last = i + PER - 1u;
  kept[id.x] = packed(vec2f(inp[i], inp[last]));
  out[i] = number(kept[id.x], i);
  out[last] = number(kept[id.x], last);
}`,
});

const asFloats = (bits: Uint32Array<ArrayBuffer>) => new Float32Array(bits.buffer);

/** Of every size, of both signs, and all that lies halfway between two halves or ends a range. */
function numbers(): Float32Array {
  const halves = fromHalves(Uint16Array.from({ length: 0x7c00 }, (_, i) => i).buffer);
  const middles = halves.subarray(1).map((half, i) => (half + halves[i]!) / 2);
  const near = (step: number) => {
    const bits = new Uint32Array(middles.slice().buffer).map((word) => word + step);
    return asFloats(bits);
  };
  const random = asFloats(integers(5, 40_000, 0x7f80_0000));
  const edges = [0, 65_504, 65_519.996, 65_520, 65_536, 1e9, 3.4e38, 2 ** -24, 2 ** -25, 1e-45];
  const positive = [halves, middles, near(1), near(-1), random, Float32Array.from(edges)]
    .flatMap((part) => [...part]);
  return Float32Array.from([...positive, ...positive.map((x) => -x), Infinity, -Infinity, NaN, 1]);
}

async function keep(device: Device, storage: "f32" | "f16", data: Float32Array) {
  const inp = device.upload("inp", [data.length], data);
  const kept = poison(device, device.tensor("kept", [data.length], storage));
  const out = poison(device, device.tensor("out", [data.length]));
  const plan = new Plan(device, { label: "keep" });
  plan.dispatch(device.kernel(KEEP[storage]), {
    groups: [Math.ceil(data.length / 64)],
    params: { count: data.length, pad0: 0, pad1: 0, pad2: 0 },
    bindings: [read(inp), write(kept), write(out)],
  });
  await plan.seal();
  plan.replay();
  const result = { kept: await device.readBytes(kept, storage), out: await device.read(out) };
  plan.destroy();
  for (const tensor of [inp, kept, out]) tensor.destroy();
  return result;
}

gpuTest(
  "storage_f16 rounds to the nearest half, of two the even one, and clamps",
  async (device) => {
    const data = numbers();
    const { kept, out } = await keep(device, "f16", data);
    const clamped = data.map((x) =>
      Math.abs(x) < Infinity ? Math.max(-MOST_F16, Math.min(MOST_F16, x)) : x
    );
    const want = toHalves(clamped).halves;
    const got = new Uint16Array(kept);
    const wrong = want.findIndex((half, i) => half !== got[i] && !Number.isNaN(data[i]));
    assertEquals(wrong, -1, `${data[wrong]} is kept as ${got[wrong]}: want ${want[wrong]}`);
    assert(Number.isNaN(out[data.length - 2]), "NaN stays NaN");
    const numbersOut = fromHalves(kept);
    // Those below 2^-14 may be taken for 0.
    const other = out.findIndex((x, i) =>
      !Object.is(x, numbersOut[i]) && !(x === 0 && Math.abs(numbersOut[i]!) < 2 ** -14)
    );
    assertEquals(other, -1, `${out[other]} for ${numbersOut[other]}`);
  },
);

gpuTest("storage_f32 keeps numbers as they are", async (device) => {
  const data = normal(1, 333);
  const { kept, out } = await keep(device, "f32", data);
  assertEquals(new Float32Array(kept), data);
  assertEquals(out, data);
});

Deno.test("toHalves() says what is too large, and lets infinity and NaN be", () => {
  assertEquals(toHalves(Float32Array.of(65_519, -65_504, Infinity, NaN)).tooLarge, undefined);
  assertEquals(toHalves(Float32Array.of(1, -70_000, 80_000)).tooLarge, -70_000);
  assertEquals([...fromHalves(toHalves(Float32Array.of(0.1, -2)).halves.buffer)], [
    Math.f16round(0.1),
    -2,
  ]);
});

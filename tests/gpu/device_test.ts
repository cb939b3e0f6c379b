import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { NoAdapterError } from "../../src/gpu/adapter.ts";
import { Device, DeviceLostError } from "../../src/gpu/device.ts";
import { defineKernel } from "../../src/gpu/kernel.ts";
import { gpuTest } from "../support/gpu.ts";
import { SCALE } from "./shaders.ts";

gpuTest("Device: upload, write and read keep every element", async (device) => {
  const data = Float32Array.from({ length: 1001 }, (_, i) => i / 7);
  const tensor = device.upload("x", [7, 143], data);
  assertEquals(await device.read(tensor), data);
  device.write(tensor, Float32Array.of(5, 6), 999);
  assertEquals((await device.read(tensor)).slice(998), Float32Array.of(data[998]!, 5, 6));
  tensor.destroy();
});

gpuTest("Device: misuse of a tensor names the tensor, the want and the state", async (device) => {
  const tensor = device.tensor("weights", [4, 4]);
  assertThrows(
    () => device.write(tensor, new Float32Array(17)),
    RangeError,
    `Cannot write "weights": at most 16 elements: got 0 + 17`,
  );
  assertThrows(() => device.write(tensor, new Uint32Array(1)), RangeError, "f32 data: got u32");
  await assertRejects(() => device.readU32(tensor), RangeError, "it is f32");
  assertThrows(() => device.tensor("empty", [0, 3]), RangeError, "dimensions of 1 or more");
  assertThrows(() => tensor.view("v", [5], 12), RangeError, "at most 16 elements: got 12 + 5");
  assertThrows(() => tensor.view("v", [4], 4), RangeError, "an offset of whole 256 bytes: got 16");
  tensor.destroy();
  tensor.destroy();
  assertThrows(
    () => device.write(tensor, new Float32Array(1)),
    Error,
    `Cannot use tensor "weights": a live tensor: it was released`,
  );
});

gpuTest("Device: too large a binding is refused before it is made", (device) => {
  const rows = Math.ceil(device.limits.maxStorageBufferBindingSize / 4) + 1;
  assertThrows(
    () => device.tensor("logits", [rows]),
    RangeError,
    `Cannot make tensor "logits" (${rows}): at most`,
  );
  return Promise.resolve();
});

gpuTest("Device: a shader error says file, line and message", async (device) => {
  const broken = defineKernel({
    label: "broken",
    file: "shaders/broken.wgsl",
    source: SCALE.source.replace("params.factor * inp[id.x]", "params.typo * inp[id.x]"),
  });
  device.kernel(broken);
  const error = await assertRejects(() => device.ready(), Error);
  assertStringIncludes(
    error.message.split("\n")[0]!,
    "Cannot compile broken: valid WGSL: shaders/broken.wgsl:8:",
  );
  assertStringIncludes(error.message, "typo");
  device.kernel(SCALE);
  await device.ready();
});

gpuTest("Device: too much workgroup memory is refused", (device) => {
  const greedy = defineKernel({
    label: "greedy",
    file: "shaders/greedy.wgsl",
    source: `const N: u32 = 1048576u;\nvar<workgroup> tile: array<f32, N>;\n${SCALE.source}`,
  });
  assertThrows(() => device.kernel(greedy), RangeError, "bytes of workgroup memory: got 4194304");
  return Promise.resolve();
});

gpuTest("Device: an uncaptured error is thrown by the next call", async (device) => {
  device.gpu.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.MAP_WRITE });
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertThrows(() => device.check("go on"), Error, "Cannot go on: no error from WebGPU: ");
  device.check("go on");
});

gpuTest("Device: scalars that change between submissions are checked", async (device) => {
  const step = device.uniforms("step", { lr: "f32", count: "u32" });
  step.set({ lr: 0.5, count: 3 });
  step.set({ count: 4 });
  const words = await device.readU32(step.tensor);
  assertEquals(new Float32Array(words.buffer)[0], 0.5);
  assertEquals(words[1], 4);
  assertThrows(() => step.set({ count: -1 }), RangeError, `Cannot set "count": a u32: got -1`);
  assertThrows(
    () => step.set({ rate: 1 } as Record<string, number>),
    RangeError,
    "one of lr, count",
  );
  step.destroy();
});

gpuTest("Device.open() refuses unknown and excessive limits", async () => {
  await assertRejects(
    () => Device.open({ limits: { maxImaginarySize: 1 } }),
    RangeError,
    `a limit of WebGPU: got "maxImaginarySize"`,
  );
  await assertRejects(
    () => Device.open({ limits: { maxBufferSize: 2 ** 50 } }),
    RangeError,
    "maxBufferSize from 1 to",
  );
});

Deno.test("Device.open() without an adapter says what to do", async () => {
  const gpu = { requestAdapter: () => Promise.resolve(null) };
  await assertRejects(() => Device.open({ gpu }), NoAdapterError, `"./brachio doctor"`);
});

gpuTest("Device: subgroups can be switched off", async () => {
  const device = await Device.open({ subgroups: false, f16: false });
  assertEquals(device.lanes, 0);
  assertEquals(device.features.has("subgroups"), false);
  assertEquals(device.features.has("shader-f16"), false);
  device.close();
});

gpuTest("Device: a closed or lost device says so", async () => {
  const closed = await Device.open();
  closed.close();
  assertThrows(() => closed.tensor("x", [1]), DeviceLostError, "a working device: it was closed");
  const lost = await Device.open();
  const tensor = lost.tensor("x", [4]);
  lost.gpu.destroy();
  await lost.gpu.lost;
  assertThrows(
    () => lost.check("train"),
    DeviceLostError,
    "Cannot train: a working device: it was lost",
  );
  await assertRejects(() => lost.read(tensor), DeviceLostError);
});

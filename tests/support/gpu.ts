/**
 * GPU tests: one device a file and option set, errors that cannot pass unseen, leaks that fail.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { NoAdapterError } from "../../src/gpu/adapter.ts";
import { Device, type OpenOptions } from "../../src/gpu/device.ts";
import { toHalves } from "../../src/gpu/storage.ts";
import { readEnv } from "./system.ts";
import type { Tensor } from "../../src/gpu/tensor.ts";

const switches: OpenOptions = {
  subgroups: readEnv("BRACHIO_NO_SUBGROUPS") !== "1",
  f16: readEnv("BRACHIO_NO_F16") !== "1",
};

/** Without an adapter GPU tests are ignored, and counted as such; REQUIRE_GPU=1 lets them fail. */
const found = await navigator.gpu?.requestAdapter() ?? null;
const ignore = found === null && readEnv("REQUIRE_GPU") !== "1";

const devices = new Map<string, Promise<Device>>();

/** The file's device of these options; opened once, as opening takes longer than most tests. */
export function testDevice(options: OpenOptions = {}): Promise<Device> {
  const merged: OpenOptions = {
    subgroups: switches.subgroups! && (options.subgroups ?? true),
    f16: switches.f16! && (options.f16 ?? true),
    ...(options.limits ? { limits: options.limits } : {}),
    ...(options.tuning ? { tuning: options.tuning } : {}),
    ...(options.fast ? { fast: true } : {}),
  };
  const key = JSON.stringify(merged);
  const known = devices.get(key) ?? Device.open(merged);
  devices.set(key, known);
  return known;
}

/**
 * Registers a test that is given a device. It fails on an uncaptured WebGPU error and when the test
 * leaves a buffer behind.
 */
export function gpuTest(
  name: string,
  run: (device: Device) => Promise<void>,
  options: OpenOptions & { ignore?: boolean } = {},
): void {
  Deno.test({
    name,
    ignore: ignore || (options.ignore ?? false),
    // The device outlives the test that opened it.
    sanitizeResources: false,
    sanitizeOps: false,
    async fn() {
      const device = await testDevice(options).catch((error) => {
        if (error instanceof NoAdapterError) devices.clear();
        throw error;
      });
      // Placeholders are made on first use and stay; they are no leak.
      for (const dtype of ["f32", "u32", "f16"] as const) {
        device.none("read", dtype);
        device.none("write", dtype);
      }
      const before = device.liveBuffers;
      await run(device);
      await device.idle();
      assertEquals(device.liveBuffers, before, "live buffers after the test");
    },
  });
}

/** A flat tensor of halves, as near to the data as they are; one more where they are odd. */
export function uploadHalves(device: Device, label: string, data: Float32Array): Tensor {
  const even = new Float32Array(Math.ceil(data.length / 2) * 2);
  even.set(data);
  const { halves } = toHalves(even);
  return device.upload(label, [halves.length], halves);
}

/**
 * Fills a tensor with NaN (f32, f16) or a large value (u32), so that an element never written
 * shows.
 */
export function poison(device: Device, tensor: Tensor): Tensor {
  device.write(
    tensor,
    tensor.dtype === "u32"
      ? new Uint32Array(tensor.count).fill(0xdeadbeef)
      : tensor.dtype === "f16"
      ? new Uint16Array(tensor.count).fill(0x7e00)
      : new Float32Array(tensor.count).fill(NaN),
  );
  return tensor;
}
